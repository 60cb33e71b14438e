//! The RSA key pair: made on first use, never half-written, the private half readable by its owner only.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result, bail};
pub use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding},
    traits::PublicKeyParts,
};

use crate::files;

pub(crate) const PRIVATE: &str = "mcp_private_key.pem";
const PUBLIC: &str = "mcp_public_key.pem";
const BITS: usize = 2048;

/// A key to check signatures with, and the name it goes by.
#[derive(Clone)]
pub struct PublicKey {
    pub rsa: RsaPublicKey,
    pub decoding_key: DecodingKey,
    /// The RFC 7638 thumbprint.
    pub kid: String,
    jwks: JwkSet,
}

impl PublicKey {
    /// Reads a public key in PEM form.
    ///
    /// # Errors
    /// If the file is missing, unreadable, not RSA or shorter than 2048 bits, or others may write it.
    pub fn load(file: &Path) -> Result<Self> {
        let pem = files::read(file).with_context(|| format!("cannot read the public key {}", file.display()))?.text;
        let key = RsaPublicKey::from_public_key_pem(&pem).map_err(|_| {
            anyhow::anyhow!("{} is not an RSA public key in PEM form (BEGIN PUBLIC KEY)", file.display())
        })?;
        Self::new(&key).with_context(|| format!("the key {} cannot be used", file.display()))
    }

    fn new(key: &RsaPublicKey) -> Result<Self> {
        let bits = key.n().bits();
        if bits < BITS {
            bail!("it has {bits} bits, but RS256 asks for {BITS} at least (RFC 7518 §3.3)");
        }
        let decoding_key = DecodingKey::from_rsa_raw_components(&key.n().to_bytes_be(), &key.e().to_bytes_be());
        let mut jwk = Jwk::from_decoding_key(&decoding_key, Some(Algorithm::RS256))?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(PublicKey { rsa: key.clone(), decoding_key, kid, jwks: JwkSet { keys: vec![jwk] } })
    }

    /// The document of `/.well-known/jwks.json` (RFC 7517 §5): this one key.
    pub fn jwks(&self) -> &JwkSet {
        &self.jwks
    }
}

/// Both halves. There is no `Debug`: the private one is never printed.
pub struct KeyPair {
    pub encoding_key: EncodingKey,
    pub public: PublicKey,
}

impl KeyPair {
    /// The pair in `dir`, made if it does not exist. Two programs that start at once end up with the same pair: a link
    /// gives the private key its name, and only one program can make it.
    ///
    /// # Errors
    /// If the folder or a file cannot be read or written, others may write there, or the private key cannot be used.
    pub fn load_or_create(dir: &Path) -> Result<Self> {
        files::folder(dir)?;
        let private = dir.join(PRIVATE);
        // Looked for first: another program that makes the pair writes it last.
        let has_public = dir.join(PUBLIC).exists();
        if !private.try_exists().with_context(|| format!("cannot look into {}", dir.display()))? {
            if has_public {
                bail!(
                    "{} has a public key but no private one: a server can take it with --public-key; else remove it",
                    dir.display()
                );
            }
            let file = new_private_key(dir)?;
            match fs::hard_link(file.path(), &private) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("cannot write {}", private.display()));
                }
                _ => {} // ours, or that of another process that was faster
            }
            tracing::info!(folder = %dir.display(), "a new key pair was made");
        }
        Self::load(dir)
    }

    /// Replaces the pair with a new one. Tokens signed with the old one become worthless.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn replace(dir: &Path) -> Result<Self> {
        files::folder(dir)?;
        let private = dir.join(PRIVATE);
        new_private_key(dir)?.persist(&private).with_context(|| format!("cannot write {}", private.display()))?;
        Self::load(dir)
    }

    fn load(dir: &Path) -> Result<Self> {
        let pair = Self::read(&dir.join(PRIVATE))?;
        write_public(dir, &pair.public.rsa)?;
        Ok(pair)
    }

    /// The pair that this private key is a half of.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let cannot = || format!("cannot read the private key {}", file.display());
        let trusted = files::read(file).with_context(cannot)?;
        let pem = &trusted.text;
        let unusable = || format!("{} is not an RSA private key in PKCS#8 PEM form", file.display());
        let key = RsaPrivateKey::from_pkcs8_pem(pem).map_err(|_| anyhow::anyhow!(unusable()))?;
        trusted.check_secret().with_context(cannot)?;
        let public =
            PublicKey::new(key.as_ref()).with_context(|| format!("the key {} cannot be used", file.display()))?;
        let encoding_key = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| anyhow::anyhow!(unusable()))?;
        Ok(KeyPair { encoding_key, public })
    }
}

/// A fresh private key under a temporary name (mode 0600), complete and on disk.
pub(crate) fn new_private_key(dir: &Path) -> Result<tempfile::NamedTempFile> {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS).context("cannot make an RSA key")?;
    let pem = key.to_pkcs8_pem(LineEnding::LF).context("cannot write an RSA key as PEM")?;
    let mut file =
        tempfile::NamedTempFile::new_in(dir).with_context(|| format!("cannot write into {}", dir.display()))?;
    file.write_all(pem.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// The public half is computed from the private one, and written if it is missing or belongs to another key.
pub(crate) fn write_public(dir: &Path, key: &RsaPublicKey) -> Result<()> {
    let pem = key.to_public_key_pem(LineEnding::LF).context("cannot write an RSA key as PEM")?;
    let path = dir.join(PUBLIC);
    if fs::read_to_string(&path).is_ok_and(|found| found == pem) {
        return Ok(());
    }
    let mut file =
        tempfile::NamedTempFile::new_in(dir).with_context(|| format!("cannot write into {}", dir.display()))?;
    file.write_all(pem.as_bytes())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
