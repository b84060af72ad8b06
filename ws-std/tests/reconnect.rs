//! The delays before connecting again, with randomness of our own and no clock.

use std::{iter, time::Duration};

use ws_std::Backoff;

const MOST: u32 = u32::MAX;

fn bounds(backoff: &mut Backoff, n: usize) -> Vec<u128> {
    let delays = iter::repeat_with(|| backoff.delay_from(MOST));
    delays
        .map(|delay| (delay + Duration::from_millis(1)).as_millis() / 10 * 10)
        .take(n)
        .collect()
}

/// RFC 6455 §7.2.3: "the first reconnect attempt SHOULD be delayed by a random amount of time", and
/// "subsequent reconnect attempts SHOULD be delayed by increasingly longer amounts of time, using a
/// method such as truncated binary exponential backoff."
#[test]
fn rfc_096_delays_double_up_to_a_bound() {
    let mut backoff = Backoff::new();
    let expected = [1000, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
    assert_eq!(bounds(&mut backoff, 8), expected);
    // Far out it neither overflows nor starts over.
    assert_eq!(bounds(&mut backoff, 100)[99], 30_000);

    let mut backoff = Backoff::new()
        .first(Duration::from_secs(5))
        .longest(Duration::from_secs(6));
    assert_eq!(bounds(&mut backoff, 5), [5000, 1000, 2000, 4000, 6000]);
}

#[test]
fn rfc_096_every_delay_is_random_from_zero_on() {
    for attempt in 0..8 {
        let mut backoff = Backoff::new();
        bounds(&mut backoff, attempt);
        let most = backoff.clone().delay_from(MOST);
        assert_eq!(backoff.clone().delay_from(0), Duration::ZERO);
        let half = backoff.clone().delay_from(MOST / 2);
        assert!(half < most && half > most.mul_f64(0.49));
        let drawn: Vec<_> = (0..16).map(|_| backoff.clone().next_delay()).collect();
        assert!(drawn.iter().all(|delay| *delay <= most));
        assert!(
            drawn.windows(2).any(|pair| pair[0] != pair[1]),
            "they are drawn"
        );
    }
}

#[test]
fn rfc_096_only_a_stable_connection_starts_the_delays_anew() {
    let mut backoff = Backoff::new();
    bounds(&mut backoff, 6);
    backoff.closed_after(Duration::from_secs(9));
    assert_eq!(bounds(&mut backoff, 1), [30_000]);
    backoff.closed_after(Duration::from_secs(10));
    assert_eq!(bounds(&mut backoff, 2), [1000, 1000]);
}
