//! Connections at a time: who finds a place, and who gives way.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

/// All connections.
const ALL: usize = 256;
/// Those that only root finds.
const RESERVE: usize = 64;
/// Those of one user that is not root.
const OF_ONE: usize = 64;

/// The connections that there are.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    places: Vec<Place>,
    next: u64,
}

#[derive(Debug)]
struct Place {
    id: u64,
    user: u32,
    is_root: bool,
    /// It waits for an answer; otherwise the daemon waits for it.
    is_busy: bool,
    /// Since it was last answered, or came.
    since: Instant,
    leave: Arc<Notify>,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection. Where there is none, the one that the daemon has
    /// waited for longest gives way: of the same user if that has too many, and
    /// never one of root's for another's. `None`: nobody can.
    pub(super) fn take(self: &Arc<Self>, user: u32, is_root: bool) -> Option<Seat> {
        let mut taken = self.lock();
        let count =
            |of: &dyn Fn(&Place) -> bool| taken.places.iter().filter(|place| of(place)).count();
        let own = |place: &Place| place.user == user;
        let gives_way = if !is_root && count(&own) >= OF_ONE {
            Some(taken.longest(own)?)
        } else if is_root && taken.places.len() >= ALL {
            Some(taken.longest(|place| !place.is_root).or_else(|| taken.longest(|_| true))?)
        } else if !is_root && count(&|place| !place.is_root) >= ALL - RESERVE {
            Some(taken.longest(|place| !place.is_root)?)
        } else {
            None
        };
        if let Some(at) = gives_way {
            taken.places.swap_remove(at).leave.notify_one();
        }
        let id = taken.next;
        taken.next += 1;
        let leave = Arc::new(Notify::new());
        let (is_busy, since) = (false, Instant::now());
        taken.places.push(Place { id, user, is_root, is_busy, since, leave: Arc::clone(&leave) });
        Some(Seat { places: Arc::clone(self), id, leave })
    }
}

impl Taken {
    /// Which of them the daemon has waited for longest.
    fn longest(&self, of: impl Fn(&Place) -> bool) -> Option<usize> {
        let waiting = self.places.iter().enumerate();
        let waiting = waiting.filter(|(_, place)| !place.is_busy && of(place));
        waiting.min_by_key(|(_, place)| (place.since, place.id)).map(|(at, _)| at)
    }
}

/// A connection's place, until it goes.
#[derive(Debug)]
pub(super) struct Seat {
    places: Arc<Places>,
    id: u64,
    leave: Arc<Notify>,
}

impl Seat {
    /// Whether the connection waits for an answer now, and is to be left alone.
    pub(super) fn set_busy(&self, is_busy: bool) {
        let mut taken = self.places.lock();
        if let Some(place) = taken.places.iter_mut().find(|place| place.id == self.id) {
            place.is_busy = is_busy;
            place.since = Instant::now();
        }
    }

    /// Another needs the place.
    pub(super) async fn left(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.lock().places.retain(|place| place.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_left(seat: &Seat) -> bool {
        let places = seat.places.lock();
        places.places.iter().all(|place| place.id != seat.id)
    }

    fn take(places: &Arc<Places>, user: u32, count: usize) -> Vec<Seat> {
        (0..count).filter_map(|_| places.take(user, user == 0)).collect()
    }

    #[test]
    fn who_was_waited_for_longest_gives_way() {
        let places = Arc::new(Places::default());
        let seats = take(&places, 7, OF_ONE);
        seats[0].set_busy(true);
        seats[1].set_busy(true);
        seats[1].set_busy(false);
        assert_eq!(seats.len(), OF_ONE);
        let more = take(&places, 7, 2);
        let left: Vec<usize> = (0..seats.len()).filter(|index| has_left(&seats[*index])).collect();
        assert_eq!((more.len(), left), (2, vec![2, 3]));
        drop(more);
        assert!(!has_left(&seats[0]) && !has_left(&seats[1]));
    }

    #[test]
    fn nobody_gives_way_who_waits_for_an_answer() {
        let places = Arc::new(Places::default());
        let seats = take(&places, 7, OF_ONE);
        seats.iter().for_each(|seat| seat.set_busy(true));
        assert!(places.take(7, false).is_none());
        assert!(places.take(8, false).is_some());
        drop(seats);
        assert!(places.take(7, false).is_some());
    }

    #[test]
    fn root_finds_a_place_whoever_has_the_others() {
        let places = Arc::new(Places::default());
        let others: Vec<Seat> = (1..=10).flat_map(|user| take(&places, user, OF_ONE)).collect();
        let held = |seats: &[Seat]| seats.iter().filter(|seat| !has_left(seat)).count();
        assert_eq!(held(&others), ALL - RESERVE);
        others.iter().for_each(|seat| seat.set_busy(true));
        assert!(places.take(99, false).is_none());
        let roots = take(&places, 0, RESERVE + 10);
        assert_eq!((roots.len(), held(&roots)), (RESERVE + 10, RESERVE));
        assert_eq!(held(&others), ALL - RESERVE, "those wait for answers");
        others.iter().for_each(|seat| seat.set_busy(false));
        let more = take(&places, 0, 10);
        assert_eq!((held(&roots), held(&others)), (RESERVE, ALL - RESERVE - 10));
        drop((roots, others, more));
        assert_eq!(places.lock().places.len(), 0);
    }
}
