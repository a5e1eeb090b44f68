//! What may happen to a reservation: pure decisions, no I/O.

use banyan::prelude::*;
use shop_contracts::inventory::v1::ReservationState as State;

/// Pieces of a product in the house.
const ON_HAND_MAX: i32 = 1_000_000_000;
/// Longest time for which goods are held, in milliseconds.
const TTL_MS_MAX: u64 = 24 * 3_600_000;

/// There is less of a product than was asked for.
pub(crate) const INSUFFICIENT_STOCK: Reason = Reason::new("INSUFFICIENT_STOCK");
/// The reservation has ended before; nothing can be held or handed over under it.
pub(crate) const RESERVATION_CLOSED: Reason = Reason::new("RESERVATION_CLOSED");
/// The goods have left the house.
pub(crate) const RESERVATION_COMMITTED: Reason = Reason::new("RESERVATION_COMMITTED");
/// Fewer pieces than are held for orders.
pub(crate) const STOCK_RESERVED: Reason = Reason::new("STOCK_RESERVED");

/// What is asked of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Reserve,
    Release,
    Commit,
    Restock,
    Expire,
}

/// What happens to the goods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Movement {
    /// Held for the order.
    Hold,
    /// Given back before they left.
    GiveBack,
    /// Left the house.
    Ship,
    /// Came back.
    Return,
    /// None are touched: there was nothing held.
    Nothing,
}

/// Decides what `command` does to a reservation in `state` (`None`: there is none yet). `Ok(None)`: it is done already.
///
/// # Errors
/// [`Code::FailedPrecondition`] if the reservation's life has taken another way.
pub(crate) fn decide(state: Option<State>, command: Command) -> Result<Option<(State, Movement)>> {
    let closed = || Err(Error::failed_precondition(RESERVATION_CLOSED, "the order's reservation has ended"));
    match (command, state) {
        (Command::Reserve, None) => Ok(Some((State::Held, Movement::Hold))),
        (Command::Reserve, Some(State::Held | State::Committed)) => Ok(None),
        (Command::Reserve, Some(_)) => closed(),

        // Nothing is held: note the end, so that a late Reserve is refused.
        (Command::Release | Command::Restock, None) => Ok(Some((State::Released, Movement::Nothing))),
        (Command::Release | Command::Restock, Some(State::Held)) => {
            Ok(Some((State::Released, Movement::GiveBack)))
        }
        (Command::Restock, Some(State::Committed)) => Ok(Some((State::Restocked, Movement::Return))),
        (Command::Release, Some(State::Committed)) => Err(Error::failed_precondition(
            RESERVATION_COMMITTED,
            "the goods have left; restock them instead",
        )),
        (Command::Release | Command::Restock, Some(_)) => Ok(None),

        (Command::Commit, Some(State::Held)) => Ok(Some((State::Committed, Movement::Ship))),
        (Command::Commit, Some(State::Committed)) => Ok(None),
        (Command::Commit, _) => closed(),

        (Command::Expire, Some(State::Held)) => Ok(Some((State::Expired, Movement::GiveBack))),
        (Command::Expire, _) => Ok(None),
    }
}

pub(crate) fn check_on_hand(on_hand: i32) -> Result<()> {
    match (0..=ON_HAND_MAX).contains(&on_hand) {
        true => Ok(()),
        false => Err(Error::invalid("on_hand", format!("must be 0 to {ON_HAND_MAX}"))),
    }
}

pub(crate) fn check_ttl(ttl_ms: u64) -> Result<u64> {
    match (1..=TTL_MS_MAX).contains(&ttl_ms) {
        true => Ok(ttl_ms),
        false => Err(Error::invalid("ttl", "must be more than nothing and at most 24 hours")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMANDS: [Command; 5] =
        [Command::Reserve, Command::Release, Command::Commit, Command::Restock, Command::Expire];
    const STATES: [Option<State>; 6] = [
        None,
        Some(State::Held),
        Some(State::Released),
        Some(State::Expired),
        Some(State::Committed),
        Some(State::Restocked),
    ];

    #[test]
    fn every_command_is_idempotent() {
        for command in COMMANDS {
            for state in STATES {
                if let Ok(Some((next, _))) = decide(state, command) {
                    assert_eq!(
                        decide(Some(next), command).unwrap(),
                        None,
                        "{command:?} twice from {state:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_is_held_after_the_end() {
        for state in [State::Released, State::Expired, State::Restocked] {
            assert!(decide(Some(state), Command::Reserve).unwrap_err().is(RESERVATION_CLOSED));
            assert!(decide(Some(state), Command::Commit).unwrap_err().is(RESERVATION_CLOSED));
        }
    }

    #[test]
    fn goods_move_in_pairs() {
        // Along every way of three commands, what was held is given back or shipped, and what was shipped returns, once.
        for a in COMMANDS {
            for b in COMMANDS {
                for c in COMMANDS {
                    let (mut state, mut held, mut gone) = (None, 0, 0);
                    for command in [a, b, c] {
                        let Ok(Some((next, movement))) = decide(state, command) else { continue };
                        state = Some(next);
                        match movement {
                            Movement::Hold => held += 1,
                            Movement::GiveBack => held -= 1,
                            Movement::Ship => (held, gone) = (held - 1, gone + 1),
                            Movement::Return => gone -= 1,
                            Movement::Nothing => {}
                        }
                        assert!((0..=1).contains(&held) && (0..=1).contains(&gone), "{a:?} {b:?} {c:?}");
                    }
                }
            }
        }
    }
}
