//! State. How many connections come from each address, over all loops.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use ws_proto::Limit;

/// Counted only where there is a limit: it is a lock for each connection.
#[derive(Debug, Default)]
pub(crate) struct Census {
    counts: Mutex<HashMap<IpAddr, u32>>,
}

impl Census {
    /// Counts one more, if that is within the limit.
    pub(crate) fn enter(&self, network: IpAddr, limit: Limit) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&network).copied().unwrap_or(0);
        let allowed = limit.allows(u64::from(count) + 1);
        if allowed {
            counts.insert(network, count + 1);
        }
        allowed
    }

    pub(crate) fn leave(&self, network: IpAddr) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&network) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = counts.remove(&network),
        }
    }

    /// How many there are, for a test of whether that is true.
    pub(crate) fn total(&self) -> usize {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.values().map(|count| *count as usize).sum()
    }
}

/// Who is counted together: a customer has an address of IPv4, and a /64 of IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_back_to_nothing() {
        let census = Census::default();
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        let limit = Limit::At(2);
        let entered = [(); 3].map(|()| census.enter(address, limit));
        assert_eq!(entered, [true, true, false]);
        census.leave(address);
        assert!(census.enter(address, limit));
        census.leave(address);
        census.leave(address);
        assert!(census.counts.lock().expect("it is not poisoned").is_empty());
    }

    #[test]
    fn a_customer_is_one_whatever_the_address() {
        let same = |a: &str, b: &str| {
            let parse = |s: &str| network(s.parse().expect("an address"));
            parse(a) == parse(b)
        };
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
