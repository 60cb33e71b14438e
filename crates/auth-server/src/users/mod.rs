//! The people who can log in. Their passwords are kept as Argon2id hashes (RFC 9106), and guessing reveals nothing: a
//! name that exists is answered like one that does not, as slowly and with the same limits (RFC 6749 §10.10; OWASP
//! Authentication Cheat Sheet).

mod account;
mod manage;
mod password;

use std::{fmt::Write, net::IpAddr, sync::Arc};

use actix_web::rt;
use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;
use oauth::{
    identifiers::Subject,
    secret::{Digest, ExposeSecret, SecretString, random},
};
use tokio::task::spawn_blocking;
use tracing::Instrument;

use self::password::{hash, readable, verify};
pub use self::{
    account::Account,
    manage::{Consent, Person},
};
use crate::{
    database::Location,
    events, peer,
    queue::{Lane, Queue},
    store::{Proof, Store},
    throttle::Counter,
};

/// The people whom the first start creates, and their roles.
const FIRST: [(&str, &str); 4] = [("alice", "user"), ("bob", "user"), ("admin", "admin user"), ("guest", "guest")];

/// Longer names and passwords are refused without a look-up: nobody has one.
pub(crate) const LONGEST_NAME: usize = 256;
const LONGEST_PASSWORD: usize = 1024;
/// How many browsers of a person are remembered; a new one replaces the least recently used.
const BROWSERS: i64 = 10;
/// How long a browser stays known after a log-in, in seconds: half a year.
pub(crate) const BROWSER_LIFETIME: i64 = 180 * 24 * 3600;

/// Somebody whose password was right.
#[derive(Clone, Debug)]
pub(crate) struct Welcome {
    pub account: Account,
    /// Of that password: nothing begins any more once it has been changed.
    hash: SecretString,
}

/// Why nobody was logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No such name, not its password, or a person who is disabled: nobody is told which.
    Wrong,
    /// Too many failed, or too many are waiting. The password was not looked at.
    Wait { seconds: u64 },
}

/// The outcome of an attempt to log in.
pub(crate) type LogIn = Result<Welcome, Refused>;

/// Where an attempt to log in comes from.
pub(crate) struct Origin {
    pub address: IpAddr,
    /// The value of the browser's device cookie for the name, if it sent one.
    pub device: Option<SecretString>,
}

/// All people. It has no `Debug`, so that nothing of it gets into a log.
#[derive(Clone)]
pub struct Users {
    store: Store,
    /// Stands in for the hash of a name that does not exist, so that it takes as long.
    nobody: Arc<str>,
    queue: Arc<Queue>,
    /// For the counters of names ([`Counter::Name`]).
    names: hmac::Key,
}

impl Users {
    /// The people in this database, for managing them; see `Builder::database`.
    ///
    /// # Errors
    /// If the database is not there, has nobody in it, or cannot be used.
    pub async fn in_database(database: &Location) -> Result<Self> {
        let users = Self::of(&Store::existing(database).await?).await?;
        ensure!(
            !users.store.people().await?.is_empty(),
            "nobody is in the database {database}: no server has used it yet"
        );
        Ok(users)
    }

    async fn of(store: &Store) -> Result<Self> {
        Ok(Users {
            store: store.clone(),
            nobody: hash(random()?.expose_secret())?.into(),
            queue: Arc::default(),
            names: hmac::Key::new(hmac::HMAC_SHA256, &store.secret("names").await?),
        })
    }

    /// Reads the accounts. The first start creates them, with the given password, or with a random one each that is
    /// shown on stderr. If the accounts exist already, a message on stderr says that a given password has no effect.
    /// `passwd` is the command that changes alice's.
    ///
    /// # Errors
    /// If the database cannot be used, or the password given is too short or too long.
    pub(crate) async fn open(store: &Store, password: Option<&SecretString>, passwd: &str) -> Result<Self> {
        let users = Self::of(store).await?;
        if users.store.people().await?.is_empty() {
            let made_up = || password.cloned().map_or_else(readable, Ok);
            let passwords = [made_up()?, made_up()?, made_up()?, made_up()?];
            let ours = users.make_first(&passwords).await?;
            if ours && password.is_none() {
                eprint!("{}", notice(&passwords, passwd));
            }
            if ours {
                return Ok(users);
            }
        }
        if password.is_some() {
            eprintln!(
                "MCP_DEV_PASSWORD has no effect: the users are there already, with passwords of their own.\n\
                 To change one: {passwd}"
            );
        }
        Ok(users)
    }

    /// Creates the first accounts if there are none yet. Returns whether this call created them.
    async fn make_first(&self, passwords: &[SecretString; 4]) -> Result<bool> {
        let mut people = FIRST.map(|(name, roles)| (name, String::new(), roles));
        for ((_, hash, _), password) in people.iter_mut().zip(passwords) {
            *hash = self.hash(password.expose_secret()).await.context("cannot make the first accounts")?;
        }
        self.store.add_first_people(&people).await
    }

    /// Checks a password. Only one check runs at a time, and it runs to its end even if the browser hangs up: hanging
    /// up must not avoid the count of failures, or start more hashes at once.
    ///
    /// # Errors
    /// If the database cannot be used, or what it holds is not a hash.
    pub(crate) async fn log_in(&self, name: &str, password: &str, from: &Origin) -> Result<LogIn> {
        let unknown_browser = Counter::of_name(&self.names, name);
        let readable = name.len() <= LONGEST_NAME && password.len() <= LONGEST_PASSWORD;
        let (name, password) = if readable { (name, password.to_owned()) } else { ("", String::new()) };
        let device = from.device.as_ref().map(|device| Digest::of(device.expose_secret()));
        let person = self.store.browser_of(name, device.as_ref()).await?;
        if let Some((sub, _)) = &person {
            events::user(sub.as_str());
        }
        let known = person.is_some_and(|(_, known)| known);
        let (counter, lane) = match device.filter(|_| known) {
            Some(browser) => (Counter::Browser(browser.clone()), Lane::Browser(browser)),
            None => (unknown_browser, Lane::Address(peer::network(from.address))),
        };
        // Before the queue, so that nobody waits for a known answer. Only who has had a turn in it writes: so a flood does
        // not keep others from writing.
        if let Some(seconds) = self.store.wait(&counter).await? {
            return Ok(throttled(known, seconds));
        }
        let Some(turn) = self.queue.turn(lane).await else {
            tracing::warn!(event = "log_in_throttled", known_browser = known, "too many are waiting");
            return Ok(Err(Refused::Wait { seconds: 1 }));
        };
        let (users, name) = (self.clone(), name.to_owned());
        let checking = async move {
            let _turn = turn;
            users.check(&name, password, &counter, known).await
        };
        rt::spawn(checking.in_current_span()).await?
    }

    /// Checks a password in its turn. The try counts as a failure until the password is known to be right.
    async fn check(&self, name: &str, password: String, counter: &Counter, known: bool) -> Result<LogIn> {
        self.store.remove_expired().await?;
        let times = match self.store.take_try(counter).await? {
            Ok(times) => times,
            Err(seconds) => return Ok(throttled(known, seconds)),
        };
        let (person, hash) = match self.store.person_named(name).await? {
            Some((person, hash)) => (Some(person), hash),
            None => (None, self.nobody.to_string()),
        };
        let hash = SecretString::from(hash);
        let against = hash.clone();
        let right = spawn_blocking(move || verify(&password, against.expose_secret())).await?;
        let disabled = person.as_ref().is_some_and(|person| person.disabled);
        if let Some(person) = person.filter(|_| !disabled && matches!(right, Ok(true))) {
            self.store.forget_failures(counter).await?;
            tracing::info!(event = "log_in", known_browser = known, "somebody logged in");
            return Ok(Ok(Welcome { account: person.into(), hash }));
        }
        let why = if disabled { "the person is disabled" } else { "the name or the password was wrong" };
        tracing::warn!(event = "log_in_failed", known_browser = known, times, why, "nobody logged in");
        self.store.begin_wait(counter).await?;
        right.map(|_| Err(Refused::Wrong))
    }

    /// Begins a session, which replaces the `old` one. `None`: the person was disabled meanwhile, or has a new password.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(crate) async fn begin_session(
        &self,
        welcome: &Welcome,
        old: Option<&SecretString>,
        lifetime: i64,
    ) -> Result<Option<SecretString>> {
        let value = random()?;
        let (new, until) = (Digest::of(value.expose_secret()), self.store.now() + lifetime);
        let begun = self.store.begin_session(&welcome.proof(), digest(old).as_ref(), &new, until).await?;
        Ok(begun.then_some(value))
    }

    /// Makes the value of a device cookie for a browser in which the person has logged in; it takes the place of the
    /// `old` one. `None`: as above.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(crate) async fn remember_browser(
        &self,
        welcome: &Welcome,
        old: Option<&SecretString>,
    ) -> Result<Option<SecretString>> {
        let value = random()?;
        let (new, until) = (Digest::of(value.expose_secret()), self.store.now() + BROWSER_LIFETIME);
        let known = self.store.remember_browser(&welcome.proof(), digest(old).as_ref(), &new, until, BROWSERS).await?;
        Ok(known.then_some(value))
    }

    /// The person with this `sub` in tokens and sessions, if they are not disabled.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn find(&self, sub: &Subject) -> Result<Option<Account>> {
        Ok(self.store.person(sub).await?.map(Account::from))
    }

    /// The hash of a new password.
    async fn hash(&self, password: &str) -> Result<String> {
        ensure!(
            password.chars().count() >= 8 && password.len() <= LONGEST_PASSWORD,
            "a password has at least 8 characters and at most {LONGEST_PASSWORD} bytes"
        );
        let turn = self.queue.turn(Lane::Operator).await.context("too many passwords are being checked")?;
        let password = password.to_owned();
        let hashing = spawn_blocking(move || {
            let _turn = turn;
            hash(&password)
        });
        hashing.await?
    }
}

impl Welcome {
    fn proof(&self) -> Proof<'_> {
        Proof { sub: &self.account.sub, hash: self.hash.expose_secret() }
    }
}

fn digest(value: Option<&SecretString>) -> Option<Digest> {
    value.map(|value| Digest::of(value.expose_secret()))
}

/// The answer to somebody who has to wait, since too many failed before.
fn throttled(known_browser: bool, seconds: u64) -> LogIn {
    tracing::warn!(event = "log_in_throttled", known_browser, seconds, "too many failed before");
    Err(Refused::Wait { seconds })
}

/// The first accounts with their passwords, for a person to read.
fn notice(passwords: &[SecretString; 4], passwd: &str) -> String {
    let mut text = "These accounts are new. Their passwords are shown only this once:\n\n".to_owned();
    let _ = writeln!(text, "  {:<8}{:<22}roles", "name", "password");
    for ((name, roles), password) in FIRST.iter().zip(passwords) {
        let _ = writeln!(text, "  {name:<8}{:<22}{roles}", password.expose_secret());
    }
    text + &format!("\nTo change one: {passwd}\n\n")
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv4Addr};

    use oauth::claims::SCOPES;
    use tempfile::TempDir;

    use super::*;
    use crate::{database::query, tests::location};

    const PASSWORD: &str = "correct horse";

    async fn users() -> (TempDir, Users) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&location(folder.path()).await).await.unwrap();
        let users = Users::open(&store, Some(&PASSWORD.into()), "").await.unwrap();
        (folder, users)
    }

    async fn accounts(users: &Users) -> Vec<Account> {
        users.store.people().await.unwrap().into_iter().map(Account::from).collect()
    }

    fn account(name: &str, roles: &[&str]) -> Account {
        Account {
            sub: Subject::new(format!("user_{name}")),
            name: name.to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }

    /// From one address, in a browser that may be known.
    async fn prove(users: &Users, name: &str, password: &str, device: Option<&str>) -> LogIn {
        let from = Origin { address: Ipv4Addr::LOCALHOST.into(), device: device.map(SecretString::from) };
        users.log_in(name, password, &from).await.unwrap()
    }

    async fn log_in(users: &Users, name: &str, password: &str, device: Option<&str>) -> Result<Account, Refused> {
        Ok(prove(users, name, password, device).await?.account)
    }

    /// After a log-in.
    async fn remember(users: &Users, account: &Account, old: Option<&SecretString>) -> SecretString {
        let (_, hash) = users.store.person_named(&account.name).await.unwrap().unwrap();
        let welcome = Welcome { account: account.clone(), hash: hash.into() };
        users.remember_browser(&welcome, old).await.unwrap().unwrap()
    }

    #[test]
    fn a_role_limits_the_scopes_that_a_person_can_grant() {
        for (roles, scopes) in [
            (&["admin"][..], &SCOPES[..]),
            (&["user"], &SCOPES),
            (&["guest", "user"], &SCOPES),
            (&["guest"], &["mcp:read", "mcp:prompts"]),
            (&["wizard"], &[]),
            (&[], &[]),
        ] {
            assert_eq!(account("x", roles).grantable(), scopes, "{roles:?}");
        }
    }

    #[actix_web::test]
    async fn the_first_start_makes_four_accounts_and_the_second_leaves_them_alone() {
        let (_folder, users) = users().await;
        let four = [
            account("admin", &["admin", "user"]),
            account("alice", &["user"]),
            account("bob", &["user"]),
            account("guest", &["guest"]),
        ];
        assert_eq!(accounts(&users).await, four);
        for Account { name, .. } in &four {
            assert!(log_in(&users, name, PASSWORD, None).await.is_ok(), "{name}");
        }
        let again = Users::open(&users.store, Some(&"another password".into()), "").await.unwrap();
        assert_eq!(log_in(&again, "alice", PASSWORD, None).await, Ok(account("alice", &["user"])));
        assert!(!again.make_first(&[(); 4].map(|()| "too late, too late".into())).await.unwrap());
        assert_eq!(accounts(&again).await, four);
    }

    #[test]
    fn passwords_that_are_made_up_differ_and_are_shown_in_a_table() {
        let passwords = [(); 4].map(|()| readable().unwrap());
        let texts = passwords.each_ref().map(ExposeSecret::expose_secret);
        assert!(texts.iter().all(|password| password.len() == 19 && password.split('-').count() == 4));
        assert!(texts[1..].iter().all(|text| *text != texts[0]));
        let notice = notice(&passwords, "auth-server user passwd alice");
        assert!(notice.contains(&format!("alice   {}   user\n", texts[0])), "{notice}");
        assert!(
            notice.contains("only this once") && notice.contains("To change one: auth-server user passwd alice\n"),
            "{notice}"
        );
    }

    #[actix_web::test]
    async fn a_first_password_that_is_too_short_is_refused_and_leaves_nobody_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&location(folder.path()).await).await.unwrap();
        let error = Users::open(&store, Some(&"short".into()), "").await.err().unwrap();
        assert!(format!("{error:#}").contains("at least 8 characters"), "{error:#}");
        assert!(!format!("{error:#}").contains("short"), "{error:#}");
        assert!(
            Users::open(&store, Some(&PASSWORD.into()), "")
                .await
                .unwrap()
                .find(&Subject::new("user_bob"))
                .await
                .unwrap()
                .is_some()
        );
    }

    #[actix_web::test]
    async fn a_name_that_exists_is_answered_like_one_that_does_not() {
        let (_folder, users) = users().await;
        let (long, huge) = ("n".repeat(257), "p".repeat(1025));
        let mut answers = Vec::new();
        for (name, password) in
            [("alice", "guess"), ("nobody", "guess"), ("", "guess"), (&long, PASSWORD), ("bob", &huge)]
        {
            let mut answer = Vec::new();
            for _ in 0..6 {
                answer.push(log_in(&users, name, password, None).await);
            }
            answers.push(answer);
        }
        assert_eq!(answers[0][..5], [const { Err(Refused::Wrong) }; 5]);
        assert_eq!(answers[0][5], Err(Refused::Wait { seconds: 1 }));
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(log_in(&users, "alice", PASSWORD, None).await, Err(Refused::Wait { seconds: 1 }));
    }

    #[actix_web::test]
    async fn a_name_that_does_not_exist_is_checked_against_a_hash_of_the_same_cost() {
        let (_folder, users) = users().await;
        let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(cost(&users.nobody), cost(&hash(PASSWORD).unwrap()));
        assert!(verify(PASSWORD, &hash(PASSWORD).unwrap()).unwrap());
        assert!(!format!("{:#}", verify(PASSWORD, "garbage $").unwrap_err()).contains("garbage"));
    }

    #[actix_web::test]
    async fn strangers_cannot_lock_out_a_browser_in_which_the_person_has_logged_in() {
        let (_folder, users) = users().await;
        let (alice, bob) = (account("alice", &["user"]), account("bob", &["user"]));
        let device = remember(&users, &alice, None).await;
        for _ in 0..20 {
            assert!(log_in(&users, "alice", "guess", None).await.is_err());
        }
        assert!(
            matches!(log_in(&users, "alice", PASSWORD, None).await, Err(Refused::Wait { .. })),
            "an unknown browser"
        );
        let bobs = remember(&users, &bob, None).await;
        for (what, other) in [
            ("another person's", bobs.expose_secret()),
            ("nobody's", "x"),
            ("a digest", Digest::of(device.expose_secret()).as_str()),
        ] {
            let answer = log_in(&users, "alice", PASSWORD, Some(other)).await;
            assert!(matches!(answer, Err(Refused::Wait { .. })), "{what}: {answer:?}");
        }
        assert_eq!(log_in(&users, "alice", PASSWORD, Some(device.expose_secret())).await, Ok(alice));
        let answer = log_in(&users, "alice", PASSWORD, None).await;
        assert!(matches!(answer, Err(Refused::Wait { .. })), "her log-in gives strangers no new guesses: {answer:?}");
    }

    #[actix_web::test]
    async fn a_known_browser_is_limited_itself_and_proves_nothing() {
        let (_folder, users) = users().await;
        let alice = account("alice", &["user"]);
        let device = remember(&users, &alice, None).await;
        for _ in 0..5 {
            assert_eq!(log_in(&users, "alice", "guess", Some(device.expose_secret())).await, Err(Refused::Wrong));
        }
        assert_eq!(
            log_in(&users, "alice", PASSWORD, Some(device.expose_secret())).await,
            Err(Refused::Wait { seconds: 1 })
        );
        assert_eq!(log_in(&users, "alice", PASSWORD, None).await, Ok(alice.clone()), "another browser");
        users.store.clock().advance(1);
        assert_eq!(log_in(&users, "alice", PASSWORD, Some(device.expose_secret())).await, Ok(alice));
    }

    #[actix_web::test]
    async fn a_person_is_known_in_ten_browsers_until_the_password_changes_or_half_a_year_has_passed() {
        let (_folder, users) = users().await;
        let alice = account("alice", &["user"]);
        let lock_out = async || {
            for _ in 0..6 {
                assert!(log_in(&users, "alice", "guess", None).await.is_err());
            }
        };
        let knows = async |device: &SecretString, password: &str| {
            log_in(&users, "alice", password, Some(device.expose_secret())).await.is_ok()
        };
        let mut devices = Vec::new();
        for _ in 0..11 {
            devices.push(remember(&users, &alice, None).await);
        }
        lock_out().await;
        assert!(!knows(&devices[0], PASSWORD).await, "the eleventh made room");
        for device in &devices[1..] {
            assert!(knows(device, PASSWORD).await);
        }
        let next = remember(&users, &alice, Some(&devices[1])).await;
        assert!(knows(&next, PASSWORD).await && knows(&devices[2], PASSWORD).await);
        assert!(!knows(&devices[1], PASSWORD).await, "another value took its place");

        users.store.clock().advance(BROWSER_LIFETIME - 1);
        lock_out().await;
        assert!(knows(&next, PASSWORD).await);
        users.store.clock().advance(1);
        lock_out().await;
        assert!(!knows(&next, PASSWORD).await, "expired");

        let fresh = remember(&users, &alice, None).await;
        users.set_password("alice", "battery staple").await.unwrap();
        lock_out().await;
        assert!(!knows(&fresh, "battery staple").await, "of the time before the password changed");
    }

    #[actix_web::test]
    async fn a_name_that_is_given_again_is_somebody_else() {
        let (_folder, users) = users().await;
        users.add("carol", "user", PASSWORD).await.unwrap();
        let Ok(first) = log_in(&users, "carol", PASSWORD, None).await else { panic!("not carol") };
        assert!(first.sub.as_str().starts_with("user_"), "no client can have this id: {}", first.sub);
        query("DELETE FROM users WHERE name IN ('carol', 'alice')").execute(users.store.database()).await.unwrap();
        for (name, before) in [("carol", first.sub), ("alice", Subject::new("user_alice"))] {
            users.add(name, "user", PASSWORD).await.unwrap();
            let Ok(next) = log_in(&users, name, PASSWORD, None).await else { panic!("not {name}") };
            assert_ne!(next.sub, before);
            assert_eq!(users.find(&before).await.unwrap(), None);
        }
    }

    #[actix_web::test]
    async fn a_success_clears_the_name() {
        let (_folder, users) = users().await;
        for _ in 0..3 {
            for _ in 0..4 {
                assert_eq!(log_in(&users, "bob", "guess", None).await, Err(Refused::Wrong));
            }
            assert_eq!(log_in(&users, "bob", PASSWORD, None).await, Ok(account("bob", &["user"])));
        }
    }

    #[actix_web::test]
    async fn accounts_are_added_with_a_usable_name_roles_and_password_only() {
        let (_folder, users) = users().await;
        users.add("Carol.O-x_1", "guest  user", "12345678").await.unwrap();
        let Ok(carol) = log_in(&users, "Carol.O-x_1", "12345678", None).await else { panic!("not Carol") };
        assert_eq!(carol, Account { sub: carol.sub.clone(), ..account("Carol.O-x_1", &["guest", "user"]) });
        assert_eq!(users.find(&carol.sub).await.unwrap(), Some(carol));
        assert_eq!(log_in(&users, "carol.o-x_1", "12345678", None).await, Err(Refused::Wrong));
        let (long, huge) = ("n".repeat(65), "p".repeat(1025));
        for (name, roles, password, error) in [
            ("alice", "user", PASSWORD, "there is already an account named alice"),
            ("", "user", PASSWORD, "a name has 1 to 64"),
            (&long, "user", PASSWORD, "a name has 1 to 64"),
            ("d ave", "user", PASSWORD, "a name has 1 to 64"),
            ("-dave", "user", PASSWORD, "does not begin with '-'"),
            ("dävid", "user", PASSWORD, "a name has 1 to 64"),
            ("dave", "", PASSWORD, "the roles are one or more of admin, user, guest"),
            ("dave", "user wizard", PASSWORD, "the roles are one or more of admin, user, guest"),
            ("dave", "user", "1234567", "at least 8 characters"),
            ("dave", "user", &huge, "at most 1024 bytes"),
        ] {
            let said = format!("{:#}", users.add(name, roles, password).await.unwrap_err());
            assert!(said.contains(error) && !said.contains(password), "{said}");
        }
        assert_eq!(users.list().await.unwrap().len(), 5);
    }

    #[actix_web::test]
    async fn a_new_password_ends_all_that_the_old_one_began() {
        let (_folder, users) = users().await;
        for name in ["alice", "bob"] {
            let session = r#"INSERT INTO sessions (digest, "user", expires_at) VALUES ($1, 'user_' || $1, 9999999999)"#;
            let family = r#"INSERT INTO families (id, client_id, "user", scope, resource, expires_at)
                VALUES ($1, '', 'user_' || $1, '', '', 9999999999)"#;
            for statement in [session, family] {
                query(statement).bind(name).execute(users.store.database()).await.unwrap();
            }
        }
        users.set_password("alice", "battery staple").await.unwrap();
        assert_eq!(log_in(&users, "alice", PASSWORD, None).await, Err(Refused::Wrong));
        assert_eq!(log_in(&users, "alice", "battery staple", None).await, Ok(account("alice", &["user"])));
        let left: Vec<(String,)> =
            query(r#"SELECT "user" FROM sessions UNION ALL SELECT "user" FROM families WHERE NOT revoked"#)
                .fetch_all(users.store.database())
                .await
                .unwrap();
        assert_eq!(left, [("user_bob".to_owned(),), ("user_bob".to_owned(),)]);
        let error = users.set_password("nobody", "battery staple").await.unwrap_err();
        assert_eq!(error.to_string(), "there is no account named \"nobody\"");
        assert!(users.set_password("bob", "short").await.is_err());
    }

    #[actix_web::test]
    async fn nothing_begins_by_a_password_that_was_changed_meanwhile() {
        let (_folder, users) = users().await;
        let old = prove(&users, "alice", PASSWORD, None).await.unwrap();
        users.set_password("alice", "battery staple").await.unwrap();
        assert!(users.begin_session(&old, None, 60).await.unwrap().is_none());
        assert!(users.remember_browser(&old, None).await.unwrap().is_none());
        let new = prove(&users, "alice", "battery staple", None).await.unwrap();
        assert!(users.begin_session(&new, None, 60).await.unwrap().is_some());
        users.disable("alice").await.unwrap();
        assert!(users.begin_session(&new, None, 60).await.unwrap().is_none());
        assert!(users.remember_browser(&new, None).await.unwrap().is_none());
    }

    #[actix_web::test]
    async fn the_database_never_holds_a_password() {
        let (folder, users) = users().await;
        users.set_password("alice", "battery staple").await.unwrap();
        assert!(log_in(&users, "bob", "a guess of mine", None).await.is_err());
        let mut files = 0;
        for file in fs::read_dir(folder.path()).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            for password in [PASSWORD, "battery staple", "a guess of mine"] {
                assert!(!bytes.windows(password.len()).any(|window| window == password.as_bytes()), "{password}");
            }
            files += usize::from(bytes.windows(9).any(|window| window == b"$argon2id"));
        }
        assert!(files > 0, "the hashes were looked for in the wrong place");
    }
}
