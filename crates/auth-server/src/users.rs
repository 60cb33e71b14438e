//! The people who can log in. Their passwords are kept as Argon2id hashes (RFC 9106), and whoever
//! guesses learns nothing: a name that exists is answered like one that does not, as slowly and with
//! the same limits (RFC 6749 §10.10; OWASP Authentication Cheat Sheet).

use std::{
    fmt::Write,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{Error, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use aws_lc_rs::rand;
use common::claims::SCOPES;
use tokio::task::spawn_blocking;
use tracing::Span;

use crate::{
    events, peer,
    queue::{Lane, Queue},
    store::{Store, digest, random},
    throttle::{Counter, Failures},
};

/// KiB of memory, passes, lanes: the first choice of OWASP's Password Storage Cheat Sheet. Blocks of more than 32 MiB
/// go back to the system at once when glibc's allocator frees them (mallopt(3), M_MMAP_THRESHOLD); of less, they may stay.
#[cfg(not(test))]
const COST: (u32, u32, u32) = (47_104, 1, 1);
#[cfg(test)]
const COST: (u32, u32, u32) = (8, 1, 1);

/// Who is there after the first start, and in what roles.
const FIRST: [(&str, &str); 4] = [("alice", "user"), ("bob", "user"), ("admin", "admin user"), ("guest", "guest")];
const ROLES: [&str; 3] = ["admin", "user", "guest"];

/// Longer ones are refused unread: they are nobody's.
pub(crate) const LONGEST_NAME: usize = 256;
const LONGEST_PASSWORD: usize = 1024;
/// In how many browsers a person is known; the one that was used longest ago makes room.
const BROWSERS: i64 = 10;
/// How long a browser stays known after a log-in, in seconds: half a year.
pub(crate) const BROWSER_LIFETIME: i64 = 180 * 24 * 3600;

/// A person, as far as tokens go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What tokens and all that belongs to the person call them. It stays, and is never given to somebody else.
    pub sub: String,
    /// What they type, and see.
    pub name: String,
    pub roles: Vec<String>,
}

impl Account {
    fn new((sub, name, roles): (String, String, String)) -> Self {
        Account { sub, name, roles: roles.split_whitespace().map(str::to_owned).collect() }
    }

    /// The scopes that the person can let a client use: a role is the ceiling of what they may do
    /// themselves (DESIGN.md §3.5).
    pub fn grantable(&self) -> Vec<&'static str> {
        let has = |role| self.roles.iter().any(|name| name == role);
        let all = has("admin") || has("user");
        SCOPES
            .into_iter()
            .filter(|scope| all || (has("guest") && matches!(*scope, "mcp:read" | "mcp:prompts")))
            .collect()
    }
}

/// What becomes of an attempt to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogIn {
    Welcome(Account),
    /// No such name, or not its password: nobody is told which.
    Wrong,
    /// Too many failed, or too many are waiting. The password was not looked at.
    Wait {
        seconds: u64,
    },
}

/// Where an attempt to log in comes from.
pub(crate) struct Origin {
    pub address: IpAddr,
    /// The value of the browser's device cookie for the name, if it sent one.
    pub device: Option<String>,
}

/// Everybody. It has no `Debug`, so that nothing of it gets into a log.
#[derive(Clone)]
pub struct Users {
    store: Store,
    /// Stands in for the hash of a name that does not exist, so that it takes as long.
    nobody: Arc<str>,
    queue: Arc<Queue>,
    failures: Arc<Mutex<Failures>>,
}

impl Users {
    /// Reads the accounts, and on the first start makes them: with the password given, or with one each that is made
    /// up and shown on stderr, where a password that comes too late is said to have no effect. `passwd` is the
    /// command that changes alice's.
    ///
    /// # Errors
    /// If the database cannot be used, or the password given is too short or too long.
    pub async fn open(store: &Store, dev_password: Option<&str>, passwd: &str) -> Result<Self> {
        let users = Users {
            store: store.clone(),
            nobody: hash(&random()?)?.into(),
            queue: Arc::default(),
            failures: Arc::default(),
        };
        if users.list().await?.is_empty() {
            let mut passwords = Vec::new();
            for _ in FIRST {
                passwords.push(dev_password.map_or_else(readable, |password| Ok(password.to_owned()))?);
            }
            let ours = users.make_first(&passwords).await?;
            if ours && dev_password.is_none() {
                eprint!("{}", notice(&passwords, passwd));
            }
            if ours {
                return Ok(users);
            }
        }
        if dev_password.is_some() {
            eprintln!(
                "MCP_DEV_PASSWORD has no effect: the users are there already, with passwords of their own.\n\
                 To change one: {passwd}"
            );
        }
        Ok(users)
    }

    /// All of the first accounts or none, whether the program is killed or two start at once. Says
    /// whether it was us who made them.
    async fn make_first(&self, passwords: &[String]) -> Result<bool> {
        const STATEMENT: &str = "INSERT INTO users (sub, name, hash, roles)
            SELECT 'user_' || column1, column1, column2, column3
            FROM (VALUES (?, ?, ?), (?, ?, ?), (?, ?, ?), (?, ?, ?))
            WHERE NOT EXISTS (SELECT 1 FROM users)";
        let mut statement = sqlx::query(STATEMENT);
        for ((name, roles), password) in FIRST.iter().zip(passwords) {
            let hash = self.hash(password).await.context("cannot make the first accounts")?;
            statement = statement.bind(name).bind(hash).bind(roles);
        }
        Ok(statement.execute(&self.store.0).await?.rows_affected() > 0)
    }

    /// Checks a password. That is done for one person at a time, and goes on to the end even if the
    /// browser hangs up: it is no way around the count of failures, nor to more hashes at once.
    ///
    /// # Errors
    /// If the database cannot be used, or what it holds is not a hash.
    pub(crate) async fn log_in(&self, name: &str, password: &str, from: &Origin) -> Result<LogIn> {
        let unknown_browser = self.failures().counter(name);
        let readable = name.len() <= LONGEST_NAME && password.len() <= LONGEST_PASSWORD;
        let (name, password) = if readable { (name, password.to_owned()) } else { ("", String::new()) };
        let device = from.device.as_deref().map(digest);
        let select =
            "SELECT sub, EXISTS (SELECT 1 FROM devices WHERE sub = users.sub AND digest = ? AND expires_at > ?)
            FROM users WHERE name = ?";
        let person: Option<(String, bool)> = sqlx::query_as(select)
            .bind(&device)
            .bind(self.store.now())
            .bind(name)
            .fetch_optional(&self.store.0)
            .await?;
        if let Some((sub, _)) = &person {
            events::user(sub);
        }
        let known = person.is_some_and(|(_, known)| known);
        let (counter, lane) = match device.filter(|_| known) {
            Some(browser) => (Counter::Browser(browser.clone()), Lane::Browser(browser)),
            None => (unknown_browser, Lane::Address(peer::network(from.address))),
        };
        // Before the queue, so that nobody waits for an answer that is known, and after it: others may have failed.
        let wait = || {
            let seconds = self.failures().wait(&counter, self.store.clock().instant())?;
            tracing::warn!(event = "log_in_throttled", known_browser = known, seconds, "too many failed before");
            Some(LogIn::Wait { seconds })
        };
        if let Some(wait) = wait() {
            return Ok(wait);
        }
        let Some(turn) = self.queue.turn(lane).await else {
            tracing::warn!(event = "log_in_throttled", known_browser = known, "too many are waiting");
            return Ok(LogIn::Wait { seconds: 1 });
        };
        if let Some(wait) = wait() {
            return Ok(wait);
        }
        let found: Option<(String, String, String, String)> =
            sqlx::query_as("SELECT sub, name, roles, hash FROM users WHERE name = ?")
                .bind(name)
                .fetch_optional(&self.store.0)
                .await?;
        let (account, hash) = match found {
            Some((sub, name, roles, hash)) => (Some(Account::new((sub, name, roles))), hash),
            None => (None, self.nobody.to_string()),
        };
        let users = self.clone();
        let span = Span::current();
        let checking = spawn_blocking(move || {
            let (_span, _turn) = (span.entered(), turn);
            let right = verify(&password, &hash);
            if let Some(account) = account.filter(|_| matches!(right, Ok(true))) {
                users.failures().forget(&counter);
                tracing::info!(event = "log_in", known_browser = known, "somebody logged in");
                return Ok(LogIn::Welcome(account));
            }
            let times = users.failures().add(counter, users.store.clock().instant());
            tracing::warn!(event = "log_in_failed", known_browser = known, times, "the name or the password was wrong");
            right.map(|_| LogIn::Wrong)
        });
        checking.await?
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the value of a device cookie for a browser in which the person has logged in; it takes the place of the
    /// `old` one.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(crate) async fn remember_browser(&self, account: &Account, old: Option<&str>) -> Result<String> {
        let value = random()?;
        let mut change = self.store.0.begin().await?;
        sqlx::query("DELETE FROM devices WHERE sub = ? AND digest = ?")
            .bind(&account.sub)
            .bind(old.map(digest))
            .execute(&mut *change)
            .await?;
        sqlx::query("INSERT INTO devices (digest, sub, expires_at) VALUES (?, ?, ?)")
            .bind(digest(&value))
            .bind(&account.sub)
            .bind(self.store.now() + BROWSER_LIFETIME)
            .execute(&mut *change)
            .await?;
        let surplus = "DELETE FROM devices WHERE sub = ?1 AND rowid NOT IN
            (SELECT rowid FROM devices WHERE sub = ?1 ORDER BY expires_at DESC, rowid DESC LIMIT ?2)";
        sqlx::query(surplus).bind(&account.sub).bind(BROWSERS).execute(&mut *change).await?;
        change.commit().await?;
        Ok(value)
    }

    /// The person whom tokens and sessions call this.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn find(&self, sub: &str) -> Result<Option<Account>> {
        let found =
            sqlx::query_as("SELECT sub, name, roles FROM users WHERE sub = ?").bind(sub).fetch_optional(&self.store.0);
        Ok(found.await?.map(Account::new))
    }

    /// Everybody, by name.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn list(&self) -> Result<Vec<Account>> {
        let all = sqlx::query_as("SELECT sub, name, roles FROM users ORDER BY name").fetch_all(&self.store.0);
        Ok(all.await?.into_iter().map(Account::new).collect())
    }

    /// Lets one more person log in.
    ///
    /// # Errors
    /// If the name is taken, one of the three cannot be used, or the database cannot be written.
    pub async fn add(&self, name: &str, roles: &str, password: &str) -> Result<()> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        ensure!(
            (1..=64).contains(&name.len()) && name.chars().all(allowed),
            "a name has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'"
        );
        let roles: Vec<_> = roles.split_whitespace().collect();
        ensure!(
            !roles.is_empty() && roles.iter().all(|role| ROLES.contains(role)),
            "the roles are one or more of {}, with spaces between them",
            ROLES.join(", ")
        );
        let hash = self.hash(password).await?;
        let added = sqlx::query("INSERT OR IGNORE INTO users (sub, name, hash, roles) VALUES (?, ?, ?, ?)")
            // Not the name: somebody else may have had it.
            .bind(format!("user_{}", uuid::Uuid::new_v4()))
            .bind(name)
            .bind(hash)
            .bind(roles.join(" "))
            .execute(&self.store.0)
            .await?;
        ensure!(added.rows_affected() > 0, "there is already an account named {name}");
        Ok(())
    }

    /// Changes a password, and ends all that was begun with the old one: whoever knew it is logged out,
    /// and the clients they let in can no longer refresh.
    ///
    /// # Errors
    /// If nobody has the name, the password cannot be used, or the database cannot be written.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<()> {
        let hash = self.hash(password).await?;
        let mut change = self.store.0.begin().await?;
        let changed = sqlx::query_as("UPDATE users SET hash = ? WHERE name = ? RETURNING sub").bind(hash).bind(name);
        let Some((sub,)) = changed.fetch_optional(&mut *change).await? else {
            bail!("there is no account named {name:?}");
        };
        let sub: String = sub;
        for statement in [
            "DELETE FROM sessions WHERE user = ?",
            "DELETE FROM devices WHERE sub = ?",
            "UPDATE families SET revoked = 1 WHERE user = ?",
        ] {
            sqlx::query(statement).bind(&sub).execute(&mut *change).await?;
        }
        change.commit().await?;
        tracing::info!(
            event = "password_changed",
            user = sub,
            "all sessions, browsers and tokens of before have ended"
        );
        Ok(())
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

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(COST.0, COST.1, COST.2, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// With a salt of its own, as a PHC string.
fn hash(password: &str) -> Result<String> {
    let hash: PasswordHash = argon2()?.hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

/// The comparison takes as long wherever the two differ.
fn verify(password: &str, hash: &str) -> Result<bool> {
    let hash = PasswordHash::new(hash).map_err(|_| anyhow!("what the database holds is not a password hash"))?;
    match argon2()?.verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A password of 80 random bits that can be read out and typed: no character looks like another.
fn readable() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| anyhow!("the system has no randomness"))?;
    let letters = bytes.map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}

/// The first accounts with their passwords, for a person to read.
fn notice(passwords: &[String], passwd: &str) -> String {
    let mut text = "These accounts are new. Their passwords are shown only this once:\n\n".to_owned();
    let _ = writeln!(text, "  {:<8}{:<22}roles", "name", "password");
    for ((name, roles), password) in FIRST.iter().zip(passwords) {
        let _ = writeln!(text, "  {name:<8}{password:<22}{roles}");
    }
    text + &format!("\nTo change one: {passwd}\n\n")
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv4Addr};

    use tempfile::TempDir;

    use super::*;

    const PASSWORD: &str = "correct horse";

    async fn users() -> (TempDir, Users) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("auth.db")).await.unwrap();
        let users = Users::open(&store, Some(PASSWORD), "").await.unwrap();
        (folder, users)
    }

    fn account(name: &str, roles: &[&str]) -> Account {
        Account {
            sub: format!("user_{name}"),
            name: name.to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }

    /// From one address, in a browser that may be known.
    async fn log_in(users: &Users, name: &str, password: &str, device: Option<&str>) -> LogIn {
        let from = Origin { address: Ipv4Addr::LOCALHOST.into(), device: device.map(str::to_owned) };
        users.log_in(name, password, &from).await.unwrap()
    }

    fn welcome(name: &str, roles: &[&str]) -> LogIn {
        LogIn::Welcome(account(name, roles))
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

    #[tokio::test]
    async fn the_first_start_makes_four_accounts_and_the_second_leaves_them_alone() {
        let (_folder, users) = users().await;
        let four = [
            account("admin", &["admin", "user"]),
            account("alice", &["user"]),
            account("bob", &["user"]),
            account("guest", &["guest"]),
        ];
        assert_eq!(users.list().await.unwrap(), four);
        for Account { name, .. } in &four {
            assert!(matches!(log_in(&users, name, PASSWORD, None).await, LogIn::Welcome(_)), "{name}");
        }
        let again = Users::open(&users.store, Some("another password"), "").await.unwrap();
        assert_eq!(log_in(&again, "alice", PASSWORD, None).await, welcome("alice", &["user"]));
        assert!(!again.make_first(&[(); 4].map(|()| "too late, too late".to_owned())).await.unwrap());
        assert_eq!(again.list().await.unwrap(), four);
    }

    #[test]
    fn passwords_that_are_made_up_differ_and_are_shown_in_a_table() {
        let passwords = [(); 4].map(|()| readable().unwrap());
        assert!(passwords.iter().all(|password| password.len() == 19 && password.split('-').count() == 4));
        assert!(passwords[1..].iter().all(|password| *password != passwords[0]));
        let notice = notice(&passwords, "auth-server user passwd alice");
        assert!(notice.contains(&format!("alice   {}   user\n", passwords[0])), "{notice}");
        assert!(
            notice.contains("only this once") && notice.contains("To change one: auth-server user passwd alice\n"),
            "{notice}"
        );
    }

    #[tokio::test]
    async fn a_first_password_that_is_too_short_is_refused_and_leaves_nobody_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("auth.db")).await.unwrap();
        let error = Users::open(&store, Some("short"), "").await.err().unwrap();
        assert!(format!("{error:#}").contains("at least 8 characters"), "{error:#}");
        assert!(!format!("{error:#}").contains("short"), "{error:#}");
        assert!(Users::open(&store, Some(PASSWORD), "").await.unwrap().find("user_bob").await.unwrap().is_some());
    }

    #[tokio::test]
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
        assert_eq!(answers[0][..5], [const { LogIn::Wrong }; 5]);
        assert_eq!(answers[0][5], LogIn::Wait { seconds: 1 });
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(log_in(&users, "alice", PASSWORD, None).await, LogIn::Wait { seconds: 1 });
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_checked_against_a_hash_of_the_same_cost() {
        let (_folder, users) = users().await;
        let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(cost(&users.nobody), cost(&hash(PASSWORD).unwrap()));
        assert!(verify(PASSWORD, &hash(PASSWORD).unwrap()).unwrap());
        assert!(!format!("{:#}", verify(PASSWORD, "garbage $").unwrap_err()).contains("garbage"));
    }

    #[tokio::test]
    async fn strangers_cannot_lock_out_a_browser_in_which_the_person_has_logged_in() {
        let (_folder, users) = users().await;
        let (alice, bob) = (account("alice", &["user"]), account("bob", &["user"]));
        let device = users.remember_browser(&alice, None).await.unwrap();
        for _ in 0..20 {
            log_in(&users, "alice", "guess", None).await;
        }
        assert!(matches!(log_in(&users, "alice", PASSWORD, None).await, LogIn::Wait { .. }), "an unknown browser");
        let bobs = users.remember_browser(&bob, None).await.unwrap();
        for (what, other) in [("another person's", bobs.as_str()), ("nobody's", "x"), ("a digest", &digest(&device))] {
            let answer = log_in(&users, "alice", PASSWORD, Some(other)).await;
            assert!(matches!(answer, LogIn::Wait { .. }), "{what}: {answer:?}");
        }
        assert_eq!(log_in(&users, "alice", PASSWORD, Some(&device)).await, LogIn::Welcome(alice));
        let answer = log_in(&users, "alice", PASSWORD, None).await;
        assert!(matches!(answer, LogIn::Wait { .. }), "her log-in gives strangers no new guesses: {answer:?}");
    }

    #[tokio::test]
    async fn a_known_browser_is_limited_itself_and_proves_nothing() {
        let (_folder, users) = users().await;
        let alice = account("alice", &["user"]);
        let device = users.remember_browser(&alice, None).await.unwrap();
        for _ in 0..5 {
            assert_eq!(log_in(&users, "alice", "guess", Some(&device)).await, LogIn::Wrong);
        }
        assert_eq!(log_in(&users, "alice", PASSWORD, Some(&device)).await, LogIn::Wait { seconds: 1 });
        assert_eq!(log_in(&users, "alice", PASSWORD, None).await, LogIn::Welcome(alice.clone()), "another browser");
        users.store.clock().advance(1);
        assert_eq!(log_in(&users, "alice", PASSWORD, Some(&device)).await, LogIn::Welcome(alice));
    }

    #[tokio::test]
    async fn a_person_is_known_in_ten_browsers_until_the_password_changes_or_half_a_year_has_passed() {
        let (_folder, users) = users().await;
        let alice = account("alice", &["user"]);
        let lock_out = async || {
            for _ in 0..6 {
                log_in(&users, "alice", "guess", None).await;
            }
        };
        let knows = async |device: &str, password: &str| {
            matches!(log_in(&users, "alice", password, Some(device)).await, LogIn::Welcome(_))
        };
        let mut devices = Vec::new();
        for _ in 0..11 {
            devices.push(users.remember_browser(&alice, None).await.unwrap());
        }
        lock_out().await;
        assert!(!knows(&devices[0], PASSWORD).await, "the eleventh made room");
        for device in &devices[1..] {
            assert!(knows(device, PASSWORD).await);
        }
        let next = users.remember_browser(&alice, Some(&devices[1])).await.unwrap();
        assert!(knows(&next, PASSWORD).await && knows(&devices[2], PASSWORD).await);
        assert!(!knows(&devices[1], PASSWORD).await, "another value took its place");

        users.store.clock().advance(BROWSER_LIFETIME - 1);
        lock_out().await;
        assert!(knows(&next, PASSWORD).await);
        users.store.clock().advance(1);
        lock_out().await;
        assert!(!knows(&next, PASSWORD).await, "expired");

        let fresh = users.remember_browser(&alice, None).await.unwrap();
        users.set_password("alice", "battery staple").await.unwrap();
        lock_out().await;
        assert!(!knows(&fresh, "battery staple").await, "of the time before the password changed");
    }

    #[tokio::test]
    async fn a_name_that_is_given_again_is_somebody_else() {
        let (_folder, users) = users().await;
        users.add("carol", "user", PASSWORD).await.unwrap();
        let LogIn::Welcome(first) = log_in(&users, "carol", PASSWORD, None).await else { panic!("not carol") };
        assert!(first.sub.starts_with("user_"), "no client can have this id: {}", first.sub);
        sqlx::query("DELETE FROM users WHERE name IN ('carol', 'alice')").execute(&users.store.0).await.unwrap();
        for (name, before) in [("carol", first.sub.as_str()), ("alice", "user_alice")] {
            users.add(name, "user", PASSWORD).await.unwrap();
            let LogIn::Welcome(next) = log_in(&users, name, PASSWORD, None).await else { panic!("not {name}") };
            assert_ne!(next.sub, before);
            assert_eq!(users.find(before).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_success_clears_the_name() {
        let (_folder, users) = users().await;
        for _ in 0..3 {
            for _ in 0..4 {
                assert_eq!(log_in(&users, "bob", "guess", None).await, LogIn::Wrong);
            }
            assert_eq!(log_in(&users, "bob", PASSWORD, None).await, welcome("bob", &["user"]));
        }
    }

    #[tokio::test]
    async fn accounts_are_added_with_a_usable_name_roles_and_password_only() {
        let (_folder, users) = users().await;
        users.add("Carol.O-x_1", "guest  user", "12345678").await.unwrap();
        let LogIn::Welcome(carol) = log_in(&users, "Carol.O-x_1", "12345678", None).await else { panic!("not Carol") };
        assert_eq!(carol, Account { sub: carol.sub.clone(), ..account("Carol.O-x_1", &["guest", "user"]) });
        assert_eq!(users.find(&carol.sub).await.unwrap(), Some(carol));
        assert_eq!(log_in(&users, "carol.o-x_1", "12345678", None).await, LogIn::Wrong);
        let (long, huge) = ("n".repeat(65), "p".repeat(1025));
        for (name, roles, password, error) in [
            ("alice", "user", PASSWORD, "there is already an account named alice"),
            ("", "user", PASSWORD, "a name has 1 to 64"),
            (&long, "user", PASSWORD, "a name has 1 to 64"),
            ("d ave", "user", PASSWORD, "a name has 1 to 64"),
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

    #[tokio::test]
    async fn a_new_password_ends_all_that_the_old_one_began() {
        let (_folder, users) = users().await;
        for name in ["alice", "bob"] {
            let session = "INSERT INTO sessions (digest, user, expires_at) VALUES (?1, 'user_' || ?1, 0)";
            let family = "INSERT INTO families (id, client_id, user, scope, resource, expires_at) VALUES (?1, '', 'user_' || ?1, '', '', 0)";
            for statement in [session, family] {
                sqlx::query(statement).bind(name).execute(&users.store.0).await.unwrap();
            }
        }
        users.set_password("alice", "battery staple").await.unwrap();
        assert_eq!(log_in(&users, "alice", PASSWORD, None).await, LogIn::Wrong);
        assert_eq!(log_in(&users, "alice", "battery staple", None).await, welcome("alice", &["user"]));
        let left: Vec<(String,)> =
            sqlx::query_as("SELECT user FROM sessions UNION ALL SELECT user FROM families WHERE NOT revoked")
                .fetch_all(&users.store.0)
                .await
                .unwrap();
        assert_eq!(left, [("user_bob".to_owned(),), ("user_bob".to_owned(),)]);
        let error = users.set_password("nobody", "battery staple").await.unwrap_err();
        assert_eq!(error.to_string(), "there is no account named \"nobody\"");
        assert!(users.set_password("bob", "short").await.is_err());
    }

    #[tokio::test]
    async fn the_database_never_holds_a_password() {
        let (folder, users) = users().await;
        users.set_password("alice", "battery staple").await.unwrap();
        log_in(&users, "bob", "a guess of mine", None).await;
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
