//! The tasks that renew the issuers' keys, for as long as the server runs.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::task::{JoinError, JoinSet};

/// The background tasks: a future that ends when one of them ends, which should never happen. Without the tasks, keys
/// would be neither renewed nor removed, and after a while the server would let nobody in. So stop the server then, and
/// say why. Dropping the future ends the tasks.
#[must_use = "without these tasks no key is renewed: await them together with the server"]
#[derive(Debug)]
pub struct Tasks(JoinSet<()>);

/// A background task has ended, by an error of ours.
#[derive(Debug, thiserror::Error)]
#[error("the task that renews an issuer's keys has ended")]
pub struct TaskEnded(#[source] Option<JoinError>);

impl Tasks {
    pub(crate) fn new(tasks: JoinSet<()>) -> Self {
        Tasks(tasks)
    }
}

impl Future for Tasks {
    type Output = TaskEnded;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<TaskEnded> {
        if self.0.is_empty() {
            return Poll::Pending; // our own keys need no task
        }
        let ended = ready!(self.0.poll_join_next(context));
        tracing::error!("the task that renews an issuer's keys has ended");
        Poll::Ready(TaskEnded(ended.and_then(Result::err)))
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_task_that_has_ended_is_a_value() {
        let tasks = |more: Option<bool>| {
            let mut tasks = JoinSet::new();
            tasks.spawn(std::future::pending());
            if let Some(panics) = more {
                tasks.spawn(async move { assert!(!panics, "a bug") });
            }
            Tasks::new(tasks)
        };
        for panics in [true, false] {
            let ended = tokio::time::timeout(Duration::from_secs(10), tasks(Some(panics))).await;
            assert_eq!(ended.unwrap().source().is_some(), panics);
        }
        for tasks in [Tasks::new(JoinSet::new()), tasks(None)] {
            let waited = tokio::time::timeout(Duration::from_millis(50), tasks).await;
            assert!(waited.is_err(), "nothing has failed");
        }
    }
}
