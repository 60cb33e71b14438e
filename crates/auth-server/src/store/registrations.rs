//! Registrations of the last hour (`registrations`), so that they can be limited: by address, and of all together.

use super::Store;
use crate::database::{Query, query};

/// How many clients may register themselves from one address, in a minute and in an hour, and from all in a minute. So
/// one address cannot fill the table within the hour for which a new client is protected.
const OF_ADDRESS_IN_A_MINUTE: i64 = 30;
const OF_ADDRESS_IN_AN_HOUR: i64 = 200;
const OF_ALL_IN_A_MINUTE: i64 = 120;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

/// For each limit, when the registration was that is as many registrations ago as the limit allows.
type Earlier = (Option<i64>, Option<i64>, Option<i64>);

pub(super) const EARLIER: &str = "SELECT
    (SELECT registered_at FROM registrations WHERE address = $1 ORDER BY registered_at DESC LIMIT 1 OFFSET $2 - 1),
    (SELECT registered_at FROM registrations WHERE address = $1 ORDER BY registered_at DESC LIMIT 1 OFFSET $3 - 1),
    (SELECT registered_at FROM registrations WHERE registered_at > $5 ORDER BY registered_at DESC LIMIT 1 OFFSET $4 - 1)";

/// Finds what [`wait`] needs.
pub(super) fn earlier(address: &str, now: i64) -> Query<'_> {
    let select = query(EARLIER).bind(address).bind(OF_ADDRESS_IN_A_MINUTE).bind(OF_ADDRESS_IN_AN_HOUR);
    select.bind(OF_ALL_IN_A_MINUTE).bind(now - MINUTE)
}

/// How many seconds until the next registration is allowed; `None`: it is allowed now.
pub(super) fn wait((minute, hour, all): Earlier, now: i64) -> Option<u64> {
    let ends =
        [(minute, MINUTE), (hour, HOUR), (all, MINUTE)].into_iter().filter_map(|(at, within)| Some(at? + within));
    let wait = u64::try_from(ends.max()? - now).ok()?;
    (wait > 0).then_some(wait)
}

impl Store {
    /// How many seconds until the next client may register itself from this address; `None`: it may now. Finding that out
    /// takes no lock, so that a flood does not keep others from registering.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn registration_wait(&self, address: &str) -> sqlx::Result<Option<u64>> {
        let now = self.now();
        Ok(wait(earlier(address, now).fetch_one(&self.database).await?, now))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use oauth::{client_metadata::ClientMetadata, identifiers::ClientId};

    use super::*;
    use crate::{store::Added, tests::location};

    async fn register(store: &Store, address: &str) -> Added {
        let metadata = ClientMetadata::parse(b"{}").unwrap();
        let id = ClientId::new(uuid::Uuid::new_v4().to_string());
        let added = store.add_client(&id, None, &metadata, address).await.unwrap();
        if let Added::Wait(seconds) = added {
            assert_eq!(store.registration_wait(address).await.unwrap(), Some(seconds));
        }
        added
    }

    #[tokio::test]
    async fn one_who_registers_often_is_stopped_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&location(folder.path()).await).await.unwrap();
        for _ in 0..30 {
            assert!(matches!(register(&store, "often").await, Added::At(_)));
        }
        assert_eq!(register(&store, "often").await, Added::Wait(60));
        assert!(matches!(register(&store, "other").await, Added::At(_)));
        store.clock().advance(59);
        assert_eq!(register(&store, "often").await, Added::Wait(1));
        for _ in 0..5 {
            store.clock().advance(60);
            for _ in 0..30 {
                assert!(matches!(register(&store, "often").await, Added::At(_)));
            }
        }
        store.clock().advance(60);
        for _ in 0..20 {
            assert!(matches!(register(&store, "often").await, Added::At(_)));
        }
        assert_eq!(register(&store, "often").await, Added::Wait(3600 - 419), "200 in an hour");
        store.clock().advance(3600 - 419);
        store.remove_expired().await.unwrap();
        assert!(matches!(register(&store, "often").await, Added::At(_)));
    }

    #[tokio::test]
    async fn all_at_all_replicas_are_limited_together_and_who_was_stopped_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let location = location(folder.path()).await;
        let (one, other) = (Store::open(&location).await.unwrap(), Store::open(&location).await.unwrap());
        let at_once = async |addresses: Vec<String>| {
            let all = addresses.iter().enumerate();
            let all = all.map(|(number, who)| register(if number % 2 == 0 { &one } else { &other }, who));
            // A few at once: on a busy machine, more of them would wait for a lock for too long.
            let all: Vec<_> = stream::iter(all).buffer_unordered(6).collect().await;
            all.into_iter().filter(|added| matches!(added, Added::At(_))).count()
        };
        assert_eq!(at_once(vec!["often".to_owned(); 50]).await, 30);
        assert_eq!(at_once((0..110).map(|number| number.to_string()).collect()).await, 90);
    }

    #[tokio::test]
    async fn registrations_of_the_future_keep_nobody_out_for_more_than_two_hours() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&location(folder.path()).await).await.unwrap();
        let insert = query("INSERT INTO registrations (address, registered_at) VALUES ('x', $1)");
        insert.bind(store.now() + 3601).execute(store.database()).await.unwrap();
        // The store has tidied before, by a clock that was a day ahead.
        store.tidied_at(store.now() + 86_400);
        store.remove_expired().await.unwrap();
        let left = query("SELECT count(*) FROM registrations").fetch_one::<(i64,)>(store.database()).await.unwrap();
        assert_eq!(left, (0,));
    }
}
