//! A key set (RFC 7517 §5), judged key by key.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::jwk::{Jwk, Key, MAX_KID, Members, NAMES, number};

/// How many keys a set may have. Providers have two or three.
const MAX_KEYS: usize = 100;

/// Why a document is not a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAKeySet {
    /// It is not a JSON object with a list `keys`.
    NotJson,
    /// It has more than 100 keys.
    TooManyKeys,
}

impl fmt::Display for NotAKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotAKeySet::NotJson => "it is not a JSON object with a list of keys",
            NotAKeySet::TooManyKeys => "it has more than 100 keys",
        })
    }
}

impl std::error::Error for NotAKeySet {}

/// What was read from a key set.
#[derive(Debug, Default)]
pub struct KeySet {
    /// The keys that can be used.
    pub keys: Vec<Key>,
    /// The names of keys that are listed in an unusable form. A known key of such a name stays.
    pub spoilt: Vec<String>,
    /// Names that several different keys share for one algorithm. None of these keys is used for it.
    pub ambiguous: Vec<String>,
    /// The names of keys whose private half is in the set.
    pub leaked: Vec<String>,
    /// Their public parts (`n` or `x`): such a key must not be trusted under any name.
    leaked_material: Vec<Vec<u8>>,
    /// The names of those whose public part cannot be read.
    leaked_unknown: Vec<String>,
    /// Whether any entry has the form of a key, usable or not. Only then does the set say which keys there are.
    pub names_keys: bool,
    /// Why entries are not used, for people: the entry's name and the reason.
    pub unused: Vec<(String, &'static str)>,
}

impl KeySet {
    /// Takes the usable keys from a set. Other entries are skipped, and do no harm (RFC 7517 §5): one `kid` may stand
    /// for a key to sign and another to encrypt, for keys of several types (§4.5), and for the same key again. If one
    /// token could mean several different keys, none of them is used. Nor is a key whose private half is in another
    /// entry.
    ///
    /// # Errors
    /// If it is no key set, or too large a one.
    pub fn parse(body: &[u8]) -> Result<Self, NotAKeySet> {
        #[derive(Deserialize)]
        struct Document<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        // An array would do for serde, which takes it for the members in their order.
        let document = Some(body).filter(|body| body.trim_ascii_start().starts_with(b"{"));
        let document = document.and_then(|body| serde_json::from_slice::<Document>(body).ok());
        let document = document.ok_or(NotAKeySet::NotJson)?;
        if document.keys.len() > MAX_KEYS {
            return Err(NotAKeySet::TooManyKeys);
        }
        let mut set = KeySet::default();
        let [mut names, mut others, mut unclear] = [const { Vec::<String>::new() }; 3];
        for entry in document.keys {
            let members = Members::of(entry.get());
            let name: String = members.text("kid").unwrap_or_default().chars().take(MAX_KID).collect();
            if members.is_private() {
                match number(members.text("n").or_else(|| members.text("x")).as_deref()) {
                    Ok(material) => set.leaked_material.push(material),
                    // Only its name can tell which key it is a half of.
                    Err(_) => set.leaked_unknown.push(name.clone()),
                }
                set.unused.push((name.clone(), "its private half is published: everybody who reads it can sign"));
                set.leaked.push(name);
                set.names_keys = true;
                continue;
            }
            let Some(jwk) = Jwk::read(entry.get()) else {
                names.push(name.clone());
                let is = |member, wanted: &[&str]| members.text(member).is_none_or(|value| wanted.contains(&&*value));
                // A token might mean this key, unless its readable members rule that out.
                if is("kty", &["RSA", "EC", "OKP"]) && is("use", &["sig"]) && is("alg", &NAMES) {
                    unclear.push(name.clone());
                }
                set.unused.push((name, "it is malformed"));
                continue;
            };
            if jwk.has_bad_kid() {
                set.unused.push((String::new(), "its kid is empty or longer than 256 bytes"));
                continue;
            }
            set.names_keys = true;
            let name = jwk.kid.clone().unwrap_or_default();
            match jwk.key() {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.unused.push((name.clone(), reason)),
            }
            if jwk.is_of_another_type() {
                others.push(name.clone());
            }
            if jwk.kid.is_some() {
                names.push(name);
            }
        }
        for key in std::mem::take(&mut set.keys) {
            let name = key.kid.clone().unwrap_or_default();
            if set.has_leaked(&key) {
                set.unused.push((name.clone(), "its private half is published in another entry"));
                set.leaked.push(name);
            } else if key.kid.is_some() && unclear.contains(&name) {
                set.unused.push((name.clone(), "a malformed entry has the same kid"));
                set.ambiguous.push(name);
            } else {
                set.keys.push(key);
            }
        }
        set.drop_ambiguous();
        let used = |name: &String| set.keys.iter().any(|key| key.kid.as_ref() == Some(name));
        let twice = |name: &String| names.iter().filter(|other| *other == name).count() > 1;
        let lost = |name: &String| set.leaked.contains(name) || others.contains(name) && !twice(name);
        set.spoilt = names.iter().filter(|name| !used(name) && !lost(name)).cloned().collect();
        Ok(set)
    }

    /// If two different keys have the same `kid` and suit the same algorithm, a token cannot say which one it means.
    fn drop_ambiguous(&mut self) {
        let all = self.keys.clone();
        for key in self.keys.iter_mut().filter(|key| key.kid.is_some()) {
            let others = || all.iter().filter(|other| other.kid == key.kid && !other.is_same(key));
            let mut clear = key.algorithms.clone();
            clear.retain(|algorithm| !others().any(|other| other.algorithms.contains(algorithm)));
            if clear != key.algorithms {
                self.ambiguous.extend(key.kid.clone());
                key.algorithms = clear;
            }
        }
        for key in self.keys.extract_if(.., |key| key.algorithms.is_empty()) {
            self.unused.push((key.kid.unwrap_or_default(), "another key has the same kid"));
        }
    }

    /// Whether the private half of this key is in the set, by its own name or by another.
    pub fn has_leaked(&self, key: &Key) -> bool {
        key.kid.as_ref().is_some_and(|kid| self.leaked_unknown.contains(kid))
            || self.leaked_material.contains(&key.material[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_entries_without_a_name_spoil_no_key_without_one() {
        let set = br#"{"keys":[{"kty":1},{"kty":2},
            {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        assert_eq!(KeySet::parse(set).unwrap().keys.len(), 1);
    }
}
