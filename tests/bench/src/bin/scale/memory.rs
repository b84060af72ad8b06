//! Memory at some number of connections, and how it grows with it.

use std::{fs, str::FromStr};

use crate::{Fallible, clients::Clients, servers::Servers};

/// What was seen while so many connections were open.
pub(crate) struct Sample {
    pub(crate) connections: usize,
    /// `RssAnon` of all servers.
    pub(crate) servers_kib: u64,
    /// `RssAnon` of all clients.
    pub(crate) clients_kib: u64,
    /// Slabs of the kernel: sockets, files, their entries in epoll.
    pub(crate) slab_kib: u64,
    /// Buffers of TCP.
    pub(crate) tcp_kib: u64,
    /// What the system says could still be had. Other programs move it, too.
    pub(crate) available_kib: u64,
    /// Connections that the packet filter tracks, where there is one.
    pub(crate) tracked: u64,
}

impl Sample {
    /// Looks now.
    pub(crate) fn take(connections: usize, servers: &Servers, clients: &Clients) -> Fallible<Self> {
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let sockstat = fs::read_to_string("/proc/net/sockstat")?;
        let tcp = sockstat.lines().find(|line| line.starts_with("TCP:"));
        let pages: u64 = field(tcp.unwrap_or_default(), "mem").unwrap_or(0);
        Ok(Self {
            connections,
            servers_kib: servers.memory_kib()?,
            clients_kib: clients.memory_kib()?,
            slab_kib: field(&meminfo, "Slab:").ok_or("no Slab")?,
            tcp_kib: pages * rustix::param::page_size() as u64 / 1024,
            available_kib: field(&meminfo, "MemAvailable:").ok_or("no MemAvailable")?,
            tracked: setting("/proc/sys/net/netfilter/nf_conntrack_count").unwrap_or(0),
        })
    }

    /// All that grows with the connections, of both ends.
    pub(crate) fn total_kib(&self) -> u64 {
        self.servers_kib + self.clients_kib + self.slab_kib + self.tcp_kib
    }
}

/// Bytes per connection, by least squares over the samples.
pub(crate) fn slope(samples: &[Sample], kib: impl Fn(&Sample) -> u64) -> f64 {
    let points = samples.iter().map(|sample| {
        let bytes = kib(sample) as f64 * 1024.0;
        (sample.connections as f64, bytes)
    });
    least_squares(&points.collect::<Vec<_>>())
}

/// The slope of the line that fits best.
fn least_squares(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let covariance: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    covariance / variance
}

/// The number behind a word, in the files of `/proc`.
pub(crate) fn field<T: FromStr>(text: &str, name: &str) -> Option<T> {
    let mut words = text.split_whitespace().skip_while(|&word| word != name);
    words.nth(1)?.parse().ok()
}

/// Handshakes that listeners of this system dropped because too many waited to be accepted; the
/// client tries again a second later.
pub(crate) fn overflows() -> Fallible<u64> {
    let netstat = fs::read_to_string("/proc/net/netstat")?;
    Ok(column(&netstat, "TcpExt:", "ListenOverflows").ok_or("no ListenOverflows")?)
}

/// The number below a name: a line of names is followed by one of numbers.
fn column(text: &str, table: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(table));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split(' ').position(|word| word == name)?;
    numbers.split(' ').nth(at)?.parse().ok()
}

/// A file of `/proc/sys` with one number.
pub(crate) fn setting(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_is_that_of_the_best_line() {
        assert_eq!(least_squares(&[(1.0, 5.0), (2.0, 7.0), (3.0, 9.0)]), 2.0);
        assert_eq!(
            least_squares(&[(0.0, 1.0), (1.0, 0.0), (2.0, 1.0), (3.0, 2.0)]),
            0.4
        );
    }

    #[test]
    fn fields_are_found_behind_their_names() {
        assert_eq!(
            field("Name:\twsd\nRssAnon:\t     124 kB\n", "RssAnon:"),
            Some(124)
        );
        assert_eq!(field("TCP: inuse 2 orphan 0 mem 7", "mem"), Some(7));
        assert_eq!(field::<u64>("TCP: inuse 2", "mem"), None);
        let netstat = "TcpExt: A B\nTcpExt: 1 2\nIpExt: B\nIpExt: 3\n";
        assert_eq!(column(netstat, "TcpExt:", "B"), Some(2));
    }
}
