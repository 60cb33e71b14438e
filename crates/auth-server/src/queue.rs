//! Decides whose password is checked next. One check takes 46 MiB and a core, so the others wait in lanes: one for each
//! browser that a person has used before, and one for each address. The lanes take turns, so a person who sends many
//! requests waits only for their own. A flood from many addresses can fill the places of unknown browsers, but takes
//! none from known browsers.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use oauth::secret::Digest;
use tokio::sync::oneshot;

/// How many may wait in all lanes of a kind together.
pub(crate) const WAITING: usize = 32;
/// How many may wait in the lane of one known browser.
const WAITING_BROWSER: usize = 2;

/// A lane: its requests wait for one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A browser in which the person has logged in before: the digest of its device cookie.
    Browser(Digest),
    /// Everybody else at an address, or in its network ([`crate::peer::network`]).
    Address(IpAddr),
    /// A command of the operator's.
    Operator,
}

#[derive(Default)]
pub(crate) struct Queue(Mutex<Lanes>);

#[derive(Default)]
struct Lanes {
    busy: bool,
    /// The lane at the front is next; a lane without anybody in it is not here.
    waiting: VecDeque<(Lane, VecDeque<oneshot::Sender<Turn>>)>,
}

/// The permission to compute a hash. The next in the queue gets it when it is dropped.
pub(crate) struct Turn(Arc<Queue>);

impl Drop for Turn {
    fn drop(&mut self) {
        let next = self.0.lanes().next();
        if let Some(next) = next {
            // A waiter that hung up meanwhile drops it, and so passes it on.
            let _ = next.send(Turn(Arc::clone(&self.0)));
        }
    }
}

impl Queue {
    /// Waits for a turn; `None` if too many are waiting. Hanging up makes room.
    pub async fn turn(self: &Arc<Self>, lane: Lane) -> Option<Turn> {
        let turn = {
            let mut lanes = self.lanes();
            if !lanes.busy {
                lanes.busy = true;
                return Some(Turn(Arc::clone(self)));
            }
            lanes.join(lane)?
        };
        turn.await.ok()
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn join(&mut self, lane: Lane) -> Option<oneshot::Receiver<Turn>> {
        for (_, waiting) in &mut self.waiting {
            waiting.retain(|one| !one.is_closed());
        }
        self.waiting.retain(|(_, waiting)| !waiting.is_empty());
        let ahead = self.waiting.iter().find(|(known, _)| *known == lane).map_or(0, |(_, waiting)| waiting.len());
        let known = matches!(lane, Lane::Browser(_));
        if known && ahead >= WAITING_BROWSER {
            return None;
        }
        let kin = |other: &Lane| matches!(other, Lane::Browser(_)) == known;
        if self.waiting.iter().filter(|(lane, _)| kin(lane)).map(|(_, waiting)| waiting.len()).sum::<usize>() >= WAITING
        {
            // The last request of the longest lane makes room for a request in a shorter lane.
            let longest =
                self.waiting.iter_mut().filter(|(lane, _)| kin(lane)).max_by_key(|(_, waiting)| waiting.len());
            let (_, longest) = longest.filter(|(_, waiting)| waiting.len() > ahead + 1)?;
            longest.pop_back();
        }
        let (sender, receiver) = oneshot::channel();
        match self.waiting.iter_mut().find(|(known, _)| *known == lane) {
            Some((_, waiting)) => waiting.push_back(sender),
            None => self.waiting.push_back((lane, VecDeque::from([sender]))),
        }
        Some(receiver)
    }

    /// The first of the lane at the front, which goes to the end.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some((lane, mut waiting)) = self.waiting.pop_front() {
            let Some(next) = waiting.pop_front() else { continue };
            if !waiting.is_empty() {
                self.waiting.push_back((lane, waiting));
            }
            if !next.is_closed() {
                return Some(next);
            }
        }
        self.busy = false;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

    use super::*;

    fn address(number: u8) -> Lane {
        Lane::Address(Ipv4Addr::new(192, 0, 2, number).into())
    }

    fn browser(number: usize) -> Lane {
        Lane::Browser(Digest::of(&number.to_string()))
    }

    /// Waits, says its name when it has its turn, and says whether it had one.
    async fn come(queue: &Arc<Queue>, name: &str, lane: Lane, log: &mpsc::UnboundedSender<String>) -> JoinHandle<bool> {
        let (queue, name, log) = (Arc::clone(queue), name.to_owned(), log.clone());
        let coming = tokio::spawn(async move {
            let Some(_turn) = queue.turn(lane).await else { return false };
            log.send(name).unwrap();
            true
        });
        tokio::task::yield_now().await; // by now it waits
        coming
    }

    async fn order(log: &mut mpsc::UnboundedReceiver<String>, count: usize) -> String {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(timeout(Duration::from_secs(5), log.recv()).await.expect("nobody's turn").unwrap());
        }
        names.join(" ")
    }

    #[tokio::test]
    async fn lanes_take_turns_and_within_one_the_first_comes_first() {
        let (queue, (log, mut seen)) = (Arc::default(), mpsc::unbounded_channel());
        let turn = Queue::turn(&queue, address(9)).await.unwrap();
        for (name, lane) in [
            ("a1", address(1)),
            ("a2", address(1)),
            ("a3", address(1)),
            ("b1", address(2)),
            ("known", browser(1)),
            ("b2", address(2)),
        ] {
            come(&queue, name, lane, &log).await;
        }
        drop(turn);
        assert_eq!(order(&mut seen, 6).await, "a1 b1 known a2 b2 a3");
        assert!(!queue.lanes().busy);
    }

    #[tokio::test]
    async fn a_flood_from_one_address_makes_room_for_others_and_one_from_everywhere_for_known_browsers() {
        let (queue, (log, mut seen)) = (Arc::default(), mpsc::unbounded_channel());
        let turn = Queue::turn(&queue, address(0)).await.unwrap();
        let mut flood = Vec::new();
        for _ in 0..WAITING {
            flood.push(come(&queue, "flood", address(1), &log).await);
        }
        assert!(Queue::turn(&queue, address(1)).await.is_none(), "it is full");
        come(&queue, "alice", address(2), &log).await;
        let last = timeout(Duration::from_secs(5), flood.pop().unwrap()).await.expect("the last of the flood stayed");
        assert!(!last.unwrap());
        drop(turn);
        assert_eq!(order(&mut seen, 2).await, "flood alice");
        order(&mut seen, WAITING - 2).await;

        let turn = Queue::turn(&queue, address(0)).await.unwrap();
        for number in 0..u8::try_from(WAITING).unwrap() {
            come(&queue, "flood", address(number), &log).await;
        }
        assert!(Queue::turn(&queue, address(99)).await.is_none(), "it is full, and no lane is longer than others");
        for name in ["alice", "again"] {
            come(&queue, name, browser(1), &log).await;
        }
        assert!(Queue::turn(&queue, browser(1)).await.is_none(), "two of one browser");
        for number in 2..=WAITING {
            come(&queue, "another", browser(number), &log).await; // the last takes the place of "again"
        }
        assert!(Queue::turn(&queue, browser(0)).await.is_none(), "known browsers are not without end either");
        drop(turn);
        assert!(order(&mut seen, WAITING + 1).await.ends_with("flood alice"));
        order(&mut seen, WAITING - 1).await;
    }

    #[tokio::test]
    async fn those_who_hang_up_make_room_and_stop_nobody() {
        let (queue, (log, mut seen)) = (Arc::default(), mpsc::unbounded_channel());
        let turn = Queue::turn(&queue, address(1)).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            waiting.push(come(&queue, "gone", address(1), &log).await);
        }
        for one in &waiting {
            one.abort();
        }
        tokio::task::yield_now().await;
        for _ in 0..WAITING {
            come(&queue, "there", address(1), &log).await;
        }
        drop(turn);
        assert_eq!(order(&mut seen, WAITING).await, ["there"; WAITING].join(" "));
        drop(Queue::turn(&queue, address(1)).await.unwrap());

        // A waiter that hangs up just as it gets its turn passes the turn on.
        let turn = Queue::turn(&queue, address(1)).await.unwrap();
        let mut late = Box::pin(queue.turn(address(2)));
        assert!(timeout(Duration::ZERO, &mut late).await.is_err());
        drop(turn);
        drop(late);
        assert!(timeout(Duration::from_secs(5), queue.turn(address(1))).await.unwrap().is_some());
    }
}
