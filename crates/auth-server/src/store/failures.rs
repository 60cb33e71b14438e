//! Failed log-ins (`failures`).

use anyhow::Result;

use super::Store;
use crate::{
    database::{self, On, query},
    throttle::{Counter, Failures},
};

/// What a counter has counted.
async fn failures<'a>(on: impl Into<On<'a>>, counter: &str) -> database::Result<Failures> {
    let select = query("SELECT times, last_ms FROM failures WHERE counter = $1").bind(counter);
    let found: Option<(i64, i64)> = select.fetch_optional(on).await?;
    Ok(found.map_or_else(Failures::default, |(times, last)| Failures { times, last }))
}

impl Store {
    /// How many seconds until the next try is allowed; `None`: it is allowed now.
    pub async fn wait(&self, counter: &Counter) -> Result<Option<u64>> {
        Ok(failures(&self.database, &counter.key()).await?.wait(self.clock.millis()))
    }

    /// Counts a try as a failure, or says how many seconds until the next one is allowed. The password is looked at only
    /// after that: of many who try at once, at however many replicas, no more get through than one after the other would.
    /// Says how many failures in a row there are now.
    pub async fn take_try(&self, counter: &Counter) -> Result<Result<i64, u64>> {
        let counter = counter.key();
        let take = self.database.transaction(Some(&counter), async |all| {
            let now = self.clock.millis();
            let before = failures(&mut *all, &counter).await?;
            if let Some(seconds) = before.wait(now) {
                return Ok(Err(seconds));
            }
            let Failures { times, last } = before.and_one(now);
            let count = "INSERT INTO failures (counter, times, last_ms) VALUES ($1, $2, $3)
                ON CONFLICT (counter) DO UPDATE SET times = $2, last_ms = $3";
            query(count).bind(&counter).bind(times).bind(last).execute(&mut *all).await?;
            Ok(Ok(times))
        });
        Ok(take.await?)
    }

    /// The try was a failure: the wait begins now, as checking a password takes a while.
    pub async fn begin_wait(&self, counter: &Counter) -> Result<()> {
        let begin = query("UPDATE failures SET last_ms = $1 WHERE counter = $2");
        begin.bind(self.clock.millis()).bind(counter.key()).execute(&self.database).await?;
        Ok(())
    }

    /// The try was no failure, and those before it are forgiven.
    pub async fn forget_failures(&self, counter: &Counter) -> Result<()> {
        query("DELETE FROM failures WHERE counter = $1").bind(counter.key()).execute(&self.database).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use oauth::secret::Digest;

    use super::*;
    use crate::tests::location;

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&location(folder.path()).await).await.unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn of_many_tries_at_once_only_the_free_ones_are_granted() {
        let (_folder, store) = store().await;
        let (name, browser) = (Counter::Name(7), Counter::Browser(Digest::of("a browser")));
        let many = join_all((0..40).map(|_| store.take_try(&name))).await;
        let mut granted: Vec<_> = many.into_iter().filter_map(|one| one.unwrap().ok()).collect();
        granted.sort_unstable();
        assert_eq!(granted, [1, 2, 3, 4, 5]);
        assert_eq!(store.wait(&name).await.unwrap(), Some(1));
        assert_eq!(store.wait(&browser).await.unwrap(), None);
        assert_eq!(store.take_try(&browser).await.unwrap(), Ok(1), "another counter");

        store.clock.advance(1);
        let many = join_all((0..10).map(|_| store.take_try(&name))).await;
        let granted: Vec<_> = many.into_iter().filter_map(|one| one.unwrap().ok()).collect();
        assert_eq!(granted, [6]);
        assert_eq!(store.wait(&name).await.unwrap(), Some(2));
        store.forget_failures(&name).await.unwrap();
        assert_eq!(store.take_try(&name).await.unwrap(), Ok(1));
        assert_eq!(store.take_try(&browser).await.unwrap(), Ok(2), "it was not forgotten");
    }

    #[tokio::test]
    async fn what_another_process_has_counted_counts_and_what_is_old_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let location = location(folder.path()).await;
        let (one, other) = (Store::open(&location).await.unwrap(), Store::open(&location).await.unwrap());
        let counter = Counter::Name(7);
        for times in 1..=5 {
            let store = if times % 2 == 0 { &one } else { &other };
            assert_eq!(store.take_try(&counter).await.unwrap(), Ok(times));
        }
        assert_eq!(one.take_try(&counter).await.unwrap(), Err(1));
        let rows = async || query("SELECT count(*) FROM failures").fetch_one::<(i64,)>(one.database()).await.unwrap().0;
        one.clock.advance(14 * 60);
        one.remove_expired().await.unwrap();
        assert_eq!(rows().await, 1);
        one.clock.advance(2 * 60);
        one.remove_expired().await.unwrap();
        assert_eq!(rows().await, 0);
    }
}
