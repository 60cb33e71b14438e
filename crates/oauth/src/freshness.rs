//! How long an answer may be used without asking again.

use std::time::Duration;

/// How long HTTP says that an answer is fresh (RFC 9111 §4.2), from the values of its `Cache-Control` headers and of
/// `Age`. `None`: it does not say. The caller has bounds of its own.
pub fn freshness<'a>(cache_control: impl Iterator<Item = &'a str>, age: Option<&str>) -> Option<Duration> {
    let age = age.and_then(|age| age.parse().ok()).unwrap_or(0);
    let mut lifetime = None;
    for directive in cache_control.flat_map(|value| value.split(',')) {
        let directive = directive.trim().to_ascii_lowercase();
        if directive == "no-store" || directive.starts_with("no-cache") {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            let seconds = seconds.trim_matches('"').parse::<u64>().unwrap_or(0);
            lifetime = Some(Duration::from_secs(seconds.saturating_sub(age)));
        }
    }
    lifetime
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_fresh_for_as_long_as_it_says() {
        for (control, age, seconds) in [
            (&[][..], None, None),
            (&["public"], None, None),
            (&["max-age=60"], None, Some(60)),
            (&["Public, MAX-AGE=60"], Some("20"), Some(40)),
            (&["max-age=\"60\""], None, Some(60)),
            (&["max-age=60"], Some("70"), Some(0)),
            (&["max-age=60"], Some("soon"), Some(60)),
            (&["max-age=-1"], None, Some(0)),
            (&["max-age=99999999999999999999"], None, Some(0)),
            (&["s-maxage=60"], None, None),
            (&["no-cache"], None, Some(0)),
            (&["max-age=60", "no-store"], None, Some(0)),
            (&["no-cache=\"x\", max-age=60"], None, Some(0)),
        ] {
            let fresh = freshness(control.iter().copied(), age);
            assert_eq!(fresh, seconds.map(Duration::from_secs), "{control:?} {age:?}");
        }
    }
}
