//! All checks, in one table; a file for each group.

use crate::check::Check;

mod agreement;
mod challenge;
mod code_flow;
mod dpop;
mod endpoints;
mod log_in;
mod places;
mod refresh;
mod refusals;
mod registration;
mod resource_document;
mod resource_metadata;
mod revocation;
mod scoped_tokens;
mod scopes;
mod server_documents;
mod server_members;
mod server_metadata;
mod token_trials;
mod tokens;
mod transport;

/// A group of checks.
pub struct Group {
    /// What the ids of its checks begin with.
    pub prefix: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Its checks.
    pub checks: &'static [Check],
}

/// All groups, in the order in which they are run.
pub const GROUPS: &[Group] = &[
    Group { prefix: "CHAL", title: "Challenges", checks: challenge::CHECKS },
    Group { prefix: "PRM", title: "The resource's metadata", checks: resource_metadata::CHECKS },
    Group { prefix: "ASM", title: "The authorization server's metadata", checks: server_metadata::CHECKS },
    Group { prefix: "AGR", title: "Agreement between the two", checks: agreement::CHECKS },
    Group { prefix: "FLOW", title: "The code flow", checks: code_flow::CHECKS },
    Group { prefix: "REG", title: "Registration", checks: registration::CHECKS },
    Group { prefix: "TRAN", title: "Transport", checks: transport::CHECKS },
    Group { prefix: "TOK", title: "Tokens", checks: tokens::CHECKS },
    Group { prefix: "PLACE", title: "Where a token is", checks: places::CHECKS },
    Group { prefix: "SCOPE", title: "Scopes and step-up", checks: scopes::CHECKS },
    Group { prefix: "DPOP", title: "Tokens that are bound to a key", checks: dpop::CHECKS },
    Group { prefix: "REF", title: "Refresh", checks: refresh::CHECKS },
    Group { prefix: "REV", title: "Revocation", checks: revocation::CHECKS },
];

/// All checks.
pub fn all() -> impl Iterator<Item = &'static Check> {
    GROUPS.iter().flat_map(|group| group.checks)
}

/// The check with this id, in any letter case.
pub fn find(id: &str) -> Option<&'static Check> {
    all().find(|check| check.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_belong_to_their_group_and_each_check_can_be_looked_up() {
        let mut seen = HashSet::new();
        for group in GROUPS {
            for check in group.checks {
                assert!(seen.insert(check.id), "{} is there twice", check.id);
                assert_eq!(check.prefix(), group.prefix, "{}", check.id);
                assert!(check.clause.link.starts_with("https://"), "{}", check.id);
                assert!(check.levels.is_sorted_by_key(|(since, _)| *since) && !check.levels.is_empty(), "{}", check.id);
                for sentence in [check.title, check.fix] {
                    assert!(sentence.ends_with('.') && !sentence.contains("  "), "{}: {sentence}", check.id);
                }
            }
        }
        for check in all() {
            // The checks run in the table's order, so those that must have passed come earlier.
            let earlier = all().take_while(|other| other.id != check.id);
            let earlier: HashSet<_> = earlier.map(|other| other.id).collect();
            assert!(check.after.iter().all(|id| earlier.contains(id)), "{}: {:?}", check.id, check.after);
        }
        assert_eq!(find("chal-01").map(|check| check.id), Some("CHAL-01"));
    }

    #[test]
    fn each_hostile_token_belongs_to_a_check_and_each_such_check_has_one() {
        let table: HashSet<_> = crate::hostile::TABLE.iter().filter_map(|row| row.check).collect();
        assert!(table.iter().all(|id| find(id).is_some()), "{table:?}");
    }

    #[test]
    fn a_check_that_takes_no_key_can_make_each_of_its_tokens_without_one() {
        use crate::{
            hostile::{Forge, TABLE},
            jose::{Algorithm, RsaKey, taken_apart},
            model::Needs,
        };
        let key = RsaKey::generate().unwrap();
        let claims = serde_json::json!({ "iss": "i", "aud": "a", "sub": "s" });
        let good = key.sign(&serde_json::json!({ "alg": "RS256" }), claims.to_string().as_bytes(), Algorithm::Rs256);
        let (header, claims) = taken_apart(&good).unwrap();
        let bait = "http://localhost/bait".parse().unwrap();
        let forge = Forge { good: &good, header, claims, trusted: None, foreign: &key, bait: &bait };
        let without_key =
            |row: &&crate::hostile::Hostile| row.check.and_then(find).is_some_and(|it| it.needs == Needs::Jwt);
        for row in TABLE.iter().filter(without_key) {
            // Else the check would pass without having tried all.
            assert!((row.make)(&forge).is_some(), "{}", row.name);
        }
        assert!(TABLE.iter().filter(without_key).count() > 10);
    }
}
