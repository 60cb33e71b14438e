//! The people who can log in. Their passwords are kept as Argon2id hashes (RFC 9106), and whoever
//! guesses learns nothing: a name that exists is answered like one that does not, as slowly and with
//! the same limits (RFC 6749 §10.10; OWASP Authentication Cheat Sheet).

use std::{
    collections::HashMap,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{Error, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use aws_lc_rs::rand;
use common::claims::SCOPES;
use tokio::{
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
};

use crate::store::{Store, digest, random};

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
const LONGEST_NAME: usize = 256;
const LONGEST_PASSWORD: usize = 1024;
/// How many may wait while one password is being checked.
const WAITING: usize = 32;

/// A person, as far as tokens go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub roles: Vec<String>,
}

impl Account {
    fn new((name, roles): (String, String)) -> Self {
        Account { name, roles: roles.split_whitespace().map(str::to_owned).collect() }
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

/// Everybody. It has no `Debug`, so that nothing of it gets into a log.
#[derive(Clone)]
pub struct Users {
    store: Store,
    /// Stands in for the hash of a name that does not exist, so that it takes as long.
    nobody: Arc<str>,
    places: Arc<Semaphore>,
    /// Whoever holds it may compute an Argon2 hash, which takes 46 MiB and a core for a while.
    turn: Arc<Mutex<Failures>>,
}

impl Users {
    /// Reads the accounts, and on the first start makes them: with the password given, or with one each
    /// that is made up and shown on stderr.
    ///
    /// # Errors
    /// If the database cannot be used, or the password given is too short or too long.
    pub async fn open(store: &Store, dev_password: Option<&str>) -> Result<Self> {
        let users = Users {
            store: store.clone(),
            nobody: hash(&random()?)?.into(),
            places: Arc::new(Semaphore::new(WAITING + 1)),
            turn: Arc::default(),
        };
        if users.list().await?.is_empty() {
            let mut passwords = Vec::new();
            for _ in FIRST {
                passwords.push(dev_password.map_or_else(readable, |password| Ok(password.to_owned()))?);
            }
            if users.make_first(&passwords).await? && dev_password.is_none() {
                eprint!("{}", notice(&passwords));
            }
        }
        Ok(users)
    }

    /// All of the first accounts or none, whether the program is killed or two start at once. Says
    /// whether it was us who made them.
    async fn make_first(&self, passwords: &[String]) -> Result<bool> {
        const STATEMENT: &str = "INSERT INTO users (name, hash, roles)
            SELECT column1, column2, column3 FROM (VALUES (?, ?, ?), (?, ?, ?), (?, ?, ?), (?, ?, ?))
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
    /// If the database cannot be used, or what it holds is no hash.
    pub async fn log_in(&self, name: &str, password: &str) -> Result<LogIn> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Ok(LogIn::Wait { seconds: 1 });
        };
        let mut failures = Arc::clone(&self.turn).lock_owned().await;
        let key = digest(name);
        if let Some(seconds) = failures.wait(&key, self.store.clock().instant()) {
            return Ok(LogIn::Wait { seconds });
        }
        let readable = name.len() <= LONGEST_NAME && password.len() <= LONGEST_PASSWORD;
        let (name, password) = if readable { (name, password.to_owned()) } else { ("", String::new()) };
        let found: Option<(String, String, String)> =
            sqlx::query_as("SELECT name, roles, hash FROM users WHERE name = ?")
                .bind(name)
                .fetch_optional(&self.store.0)
                .await?;
        let (account, hash) = match found {
            Some((name, roles, hash)) => (Some(Account::new((name, roles))), hash),
            None => (None, self.nobody.to_string()),
        };
        let clock = self.store.clock().clone();
        let checking = spawn_blocking(move || {
            let _place = place;
            let right = verify(&password, &hash)?;
            if let Some(account) = account.filter(|_| right) {
                failures.forget(&key);
                return Ok(LogIn::Welcome(account));
            }
            failures.add(&key, clock.instant());
            Ok(LogIn::Wrong)
        });
        checking.await?
    }

    /// # Errors
    /// If the database cannot be read.
    pub async fn find(&self, name: &str) -> Result<Option<Account>> {
        let found =
            sqlx::query_as("SELECT name, roles FROM users WHERE name = ?").bind(name).fetch_optional(&self.store.0);
        Ok(found.await?.map(Account::new))
    }

    /// Everybody, by name.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn list(&self) -> Result<Vec<Account>> {
        let all = sqlx::query_as("SELECT name, roles FROM users ORDER BY name").fetch_all(&self.store.0);
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
        let added = sqlx::query("INSERT OR IGNORE INTO users (name, hash, roles) VALUES (?, ?, ?)")
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
        let changed = sqlx::query("UPDATE users SET hash = ? WHERE name = ?").bind(hash).bind(name);
        if changed.execute(&mut *change).await?.rows_affected() == 0 {
            bail!("there is no account named {name:?}");
        }
        sqlx::query("DELETE FROM sessions WHERE user = ?").bind(name).execute(&mut *change).await?;
        sqlx::query("UPDATE families SET revoked = 1 WHERE user = ?").bind(name).execute(&mut *change).await?;
        Ok(change.commit().await?)
    }

    /// The hash of a new password.
    async fn hash(&self, password: &str) -> Result<String> {
        ensure!(
            password.chars().count() >= 8 && password.len() <= LONGEST_PASSWORD,
            "a password has at least 8 characters and at most {LONGEST_PASSWORD} bytes"
        );
        let turn = Arc::clone(&self.turn).lock_owned().await;
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
    let hash = PasswordHash::new(hash).map_err(|_| anyhow!("the database holds a password hash that is none"))?;
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
fn notice(passwords: &[String]) -> String {
    let mut text = "These accounts are new. Their passwords are shown only this once:\n\n".to_owned();
    let _ = writeln!(text, "  {:<8}{:<22}roles", "name", "password");
    for ((name, roles), password) in FIRST.iter().zip(passwords) {
        let _ = writeln!(text, "  {name:<8}{password:<22}{roles}");
    }
    text + "\nTo change one: auth-server user passwd NAME\n\n"
}

/// Who failed to log in of late. Names stand here as digests: people type passwords into the wrong
/// field.
#[derive(Default)]
struct Failures {
    names: HashMap<String, Failed>,
}

/// Failures in a row.
struct Failed {
    times: u32,
    last: Instant,
}

impl Failures {
    /// What a name may get wrong before it has to wait.
    const FREE: u32 = 5;
    const LONGEST_WAIT: u64 = 60;
    /// A name with no failure for so long starts anew.
    const MEMORY: Duration = Duration::from_mins(15);
    /// How many names are remembered; the one that failed longest ago makes room. Who fills the table keeps
    /// nobody else out, and is as slow as one password check at a time.
    const NAMES: usize = 1000;

    /// How many seconds it takes until the name may try again, if it may not now.
    fn wait(&mut self, name: &str, now: Instant) -> Option<u64> {
        self.names.retain(|_, failed| now.duration_since(failed.last) < Self::MEMORY);
        let failed = self.names.get(name)?;
        let left = (failed.last + failed.delay()).duration_since(now);
        (!left.is_zero()).then(|| left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }

    fn add(&mut self, name: &str, now: Instant) {
        if self.names.len() >= Self::NAMES && !self.names.contains_key(name) {
            let oldest = self.names.iter().min_by_key(|(_, failed)| failed.last).map(|(name, _)| name.clone());
            self.names.remove(&oldest.unwrap_or_default());
        }
        let failed = self.names.entry(name.to_owned()).or_insert(Failed { times: 0, last: now });
        failed.times = failed.times.saturating_add(1);
        failed.last = now;
    }

    fn forget(&mut self, name: &str) {
        self.names.remove(name);
    }
}

impl Failed {
    /// 1 s, 2 s, 4 s and so on.
    fn delay(&self) -> Duration {
        let beyond = self.times.checked_sub(Failures::FREE);
        Duration::from_secs(beyond.map_or(0, |n| (1 << n.min(6)).min(Failures::LONGEST_WAIT)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const PASSWORD: &str = "correct horse";

    async fn users() -> (TempDir, Users) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("auth.db")).await.unwrap();
        let users = Users::open(&store, Some(PASSWORD)).await.unwrap();
        (folder, users)
    }

    fn account(name: &str, roles: &[&str]) -> Account {
        Account { name: name.to_owned(), roles: roles.iter().map(|role| (*role).to_owned()).collect() }
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
            assert!(matches!(users.log_in(name, PASSWORD).await.unwrap(), LogIn::Welcome(_)), "{name}");
        }
        let again = Users::open(&users.store, Some("another password")).await.unwrap();
        assert_eq!(again.log_in("alice", PASSWORD).await.unwrap(), welcome("alice", &["user"]));
        assert!(!again.make_first(&[(); 4].map(|()| "too late, too late".to_owned())).await.unwrap());
        assert_eq!(again.list().await.unwrap(), four);
    }

    #[test]
    fn passwords_that_are_made_up_differ_and_are_shown_in_a_table() {
        let passwords = [(); 4].map(|()| readable().unwrap());
        assert!(passwords.iter().all(|password| password.len() == 19 && password.split('-').count() == 4));
        assert!(passwords[1..].iter().all(|password| *password != passwords[0]));
        let notice = notice(&passwords);
        assert!(notice.contains(&format!("alice   {}   user\n", passwords[0])), "{notice}");
        assert!(notice.contains("only this once") && notice.contains("auth-server user passwd NAME"), "{notice}");
    }

    #[tokio::test]
    async fn a_first_password_that_is_too_short_is_refused_and_leaves_nobody_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("auth.db")).await.unwrap();
        let error = Users::open(&store, Some("short")).await.err().unwrap();
        assert!(format!("{error:#}").contains("at least 8 characters"), "{error:#}");
        assert!(!format!("{error:#}").contains("short"), "{error:#}");
        assert!(Users::open(&store, Some(PASSWORD)).await.unwrap().find("bob").await.unwrap().is_some());
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
                answer.push(users.log_in(name, password).await.unwrap());
            }
            answers.push(answer);
        }
        assert_eq!(answers[0][..5], [const { LogIn::Wrong }; 5]);
        assert_eq!(answers[0][5], LogIn::Wait { seconds: 1 });
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(users.log_in("alice", PASSWORD).await.unwrap(), LogIn::Wait { seconds: 1 });
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
    async fn a_success_clears_the_name() {
        let (_folder, users) = users().await;
        for _ in 0..3 {
            for _ in 0..4 {
                assert_eq!(users.log_in("bob", "guess").await.unwrap(), LogIn::Wrong);
            }
            assert_eq!(users.log_in("bob", PASSWORD).await.unwrap(), welcome("bob", &["user"]));
        }
    }

    #[test]
    fn the_wait_of_a_name_doubles_up_to_a_minute_and_ends() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..13 {
            failures.add("x", now);
            let wait = failures.wait("x", now);
            assert_eq!(failures.wait("y", now), None);
            waits.push(wait.unwrap_or(0));
            now += Duration::from_secs(wait.unwrap_or(0));
            assert_eq!(failures.wait("x", now), None);
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(failures.wait("x", now + Failures::MEMORY), None);
        failures.add("x", now + Failures::MEMORY);
        assert_eq!(failures.wait("x", now + Failures::MEMORY), None);
    }

    #[test]
    fn failures_of_other_names_keep_nobody_out_and_do_not_grow_the_table() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        for i in 0..Failures::NAMES + 5 {
            failures.add(&format!("name {i}"), start + Duration::from_millis(1) * u32::try_from(i).unwrap());
        }
        assert_eq!(failures.names.len(), Failures::NAMES);
        assert!(!failures.names.contains_key("name 0") && failures.names.contains_key("name 1004"));
        assert_eq!(failures.wait("someone", start), None);
    }

    #[tokio::test]
    async fn at_most_32_wait_for_their_turn_and_those_who_hang_up_make_room() {
        let (_folder, users) = users().await;
        let turn = users.turn.lock().await;
        let spawn = || {
            let users = users.clone();
            tokio::spawn(async move { users.log_in("alice", PASSWORD).await.unwrap() })
        };
        let mut waiting: Vec<_> = (0..=WAITING).map(|_| spawn()).collect();
        tokio::task::yield_now().await;
        assert_eq!(users.log_in("alice", PASSWORD).await.unwrap(), LogIn::Wait { seconds: 1 });
        let gone = waiting.pop().unwrap();
        gone.abort();
        assert!(gone.await.is_err());
        waiting.push(spawn());
        drop(turn);
        for one in waiting {
            assert_eq!(one.await.unwrap(), welcome("alice", &["user"]));
        }
        assert_eq!(users.places.available_permits(), WAITING + 1);
    }

    #[tokio::test]
    async fn accounts_are_added_with_a_usable_name_roles_and_password_only() {
        let (_folder, users) = users().await;
        users.add("Carol.O-x_1", "guest  user", "12345678").await.unwrap();
        assert_eq!(users.find("Carol.O-x_1").await.unwrap(), Some(account("Carol.O-x_1", &["guest", "user"])));
        assert_eq!(users.find("carol.o-x_1").await.unwrap(), None);
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
            let session = "INSERT INTO sessions (digest, user, expires_at) VALUES (?1, ?1, 0)";
            let family = "INSERT INTO families (id, client_id, user, scope, resource, expires_at) VALUES (?1, '', ?1, '', '', 0)";
            for statement in [session, family] {
                sqlx::query(statement).bind(name).execute(&users.store.0).await.unwrap();
            }
        }
        users.set_password("alice", "battery staple").await.unwrap();
        assert_eq!(users.log_in("alice", PASSWORD).await.unwrap(), LogIn::Wrong);
        assert_eq!(users.log_in("alice", "battery staple").await.unwrap(), welcome("alice", &["user"]));
        let left: Vec<(String,)> =
            sqlx::query_as("SELECT user FROM sessions UNION ALL SELECT user FROM families WHERE NOT revoked")
                .fetch_all(&users.store.0)
                .await
                .unwrap();
        assert_eq!(left, [("bob".to_owned(),), ("bob".to_owned(),)]);
        let error = users.set_password("nobody", "battery staple").await.unwrap_err();
        assert_eq!(error.to_string(), "there is no account named \"nobody\"");
        assert!(users.set_password("bob", "short").await.is_err());
    }

    #[tokio::test]
    async fn the_database_never_holds_a_password() {
        let (folder, users) = users().await;
        users.set_password("alice", "battery staple").await.unwrap();
        users.log_in("bob", "a guess of mine").await.unwrap();
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
