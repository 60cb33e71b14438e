//! Passwords, kept as Argon2id hashes (RFC 9106).

use anyhow::{Result, anyhow};
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{Error, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use oauth::secret::{SecretString, random_bytes};

/// KiB of memory, passes, lanes: the first choice of OWASP's Password Storage Cheat Sheet. Blocks of more than 32 MiB
/// go back to the system at once when glibc's allocator frees them (mallopt(3), M_MMAP_THRESHOLD); of less, they may stay.
#[cfg(not(test))]
const COST: (u32, u32, u32) = (47_104, 1, 1);
#[cfg(test)]
const COST: (u32, u32, u32) = (8, 1, 1);

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

/// A password of 80 random bits that can be read out and typed: no character looks like another.
pub fn readable() -> Result<SecretString> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes = random_bytes()?;
    let letters: Vec<char> =
        bytes[..16].iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-").into())
}
