//! Passwords, kept as Argon2id hashes (RFC 9106).

use std::thread;

use anyhow::{Result, anyhow};
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{Error, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use oauth::secret::{SecretString, random_bytes};
use tokio::sync::oneshot;

/// KiB of memory, passes, lanes: the first choice of OWASP's Password Storage Cheat Sheet. Blocks of more than 32 MiB
/// go back to the system at once when glibc's allocator frees them (mallopt(3), M_MMAP_THRESHOLD); of less, they may stay.
#[cfg(not(test))]
const COST: (u32, u32, u32) = (47_104, 1, 1);
#[cfg(test)]
const COST: (u32, u32, u32) = (8, 1, 1);

/// How much less: 1.5 % of the share of a thread of the usual priority (sched(7), "The nice value").
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(COST.0, COST.1, COST.2, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// With a salt of its own, as a PHC string.
pub fn hash(password: &str) -> Result<String> {
    let hash: PasswordHash = argon2()?.hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

/// The comparison takes as long wherever the two differ.
pub fn verify(password: &str, hash: &str) -> Result<bool> {
    let hash = PasswordHash::new(hash).map_err(|_| anyhow!("what the database holds is not a password hash"))?;
    match argon2()?.verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Does this on a thread of its own, to which the system gives less of a core while others want it: one hash takes a core for
/// tens of milliseconds, and calls should not wait for it.
///
/// # Errors
/// If there can be no thread; and what is done has its own.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (sender, done) = oneshot::channel();
    thread::Builder::new().name("password".to_owned()).spawn(move || {
        // Elsewhere it would be the priority of the whole process. It is a wish: the work is done without it as well.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, NICE);
        let _ = sender.send(work()); // nobody waits any more if the server stops
    })?;
    done.await?
}

/// A password of 80 random bits that can be read out and typed: no character looks like another.
pub fn readable() -> Result<SecretString> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes = random_bytes()?;
    let letters: Vec<char> =
        bytes[..16].iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-").into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn only_the_thread_of_a_hash_gives_way_to_others() {
        let priority = || Ok(getpriority_process(None)?);
        let before = priority().unwrap();
        assert_eq!(aside(priority).await.unwrap(), NICE);
        assert_eq!(priority().unwrap(), before);
    }
}
