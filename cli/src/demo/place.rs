//! Which member of the demonstration is where: members 1 and 2 on the first machine, 3 to 5 on the second, or all on one.
//!
//! Refuses to listen anywhere but at the one address through which the other machine is reached.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use super::{MEMBERS, ON_FIRST, port, url};
use crate::arguments::DemoChat;

/// Ports above would not fit for all members.
const BASE_MAX: u16 = u16::MAX - 100;

/// Where the members are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of the first machine and of the second.
    machines: [IpAddr; 2],
    /// Which of them this is, from 0; `None`: both.
    own: Option<usize>,
    port_base: u16,
    chat_port: u16,
}

impl Place {
    pub(super) fn new(arguments: &DemoChat) -> Result<Place, String> {
        let DemoChat { machine_id, peer_ip, port_base, chat_port, .. } = arguments;
        if *port_base < 1024 || *port_base > BASE_MAX || *chat_port < 1024 || *chat_port > BASE_MAX {
            return Err(format!("ports begin in [1024, {BASE_MAX}]"));
        }
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (machines, own) = match (machine_id, peer_ip) {
            (None, None) => ([loopback; 2], None),
            (Some(id), Some(peer)) => {
                let own = own_address(*peer)?;
                if own == *peer {
                    return Err(format!("{peer} is this machine; --peer-ip is the other one's address"));
                }
                let own_index = usize::from(*id) - 1;
                let machines = if own_index == 0 { [own, *peer] } else { [*peer, own] };
                (machines, Some(own_index))
            }
            _ => return Err("--machine-id and --peer-ip go together".to_owned()),
        };
        Ok(Place { machines, own, port_base: *port_base, chat_port: *chat_port })
    }

    fn machine(ordinal: u8) -> usize {
        usize::from(ordinal >= ON_FIRST)
    }

    /// Whether the member runs here.
    pub(super) fn is_local(&self, ordinal: u8) -> bool {
        self.own.is_none_or(|own| own == Place::machine(ordinal))
    }

    pub(super) fn is_one_machine(&self) -> bool {
        self.own.is_none()
    }

    /// Members that run here.
    pub(super) fn locals(&self) -> impl Iterator<Item = u8> + '_ {
        (0..MEMBERS).filter(|ordinal| self.is_local(*ordinal))
    }

    fn at(&self, ordinal: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.machines[Place::machine(ordinal)], port)
    }

    /// Where the store's clients reach the member.
    pub(super) fn client(&self, ordinal: u8) -> SocketAddr {
        self.at(ordinal, port(self.port_base, ordinal))
    }

    /// Where the other members reach it.
    pub(super) fn peer(&self, ordinal: u8) -> SocketAddr {
        self.at(ordinal, port(self.port_base, ordinal) + 1)
    }

    /// Where it takes orders.
    pub(super) fn admin(&self, ordinal: u8) -> SocketAddr {
        self.at(ordinal, port(self.port_base, ordinal) + 2)
    }

    /// Where the chat is served beside it.
    pub(super) fn chat(&self, ordinal: u8) -> SocketAddr {
        self.at(ordinal, self.chat_port + u16::from(ordinal))
    }

    pub(super) fn endpoint(&self, ordinal: u8) -> String {
        let client = self.client(ordinal);
        url(client.ip(), client.port())
    }

    /// Every port that must be free here.
    pub(super) fn own_addresses(&self) -> Vec<SocketAddr> {
        let of =
            |ordinal| [self.client(ordinal), self.peer(ordinal), self.admin(ordinal), self.chat(ordinal)];
        self.locals().flat_map(of).collect()
    }
}

/// Through which address of ours the other machine is reached.
fn own_address(peer: IpAddr) -> Result<IpAddr, String> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    // Nothing is sent: the system only chooses the way.
    let found = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((peer, 9))?;
        socket.local_addr()
    });
    found.map(|address| address.ip()).map_err(|error| format!("there is no way to {peer}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(machine_id: Option<u8>, peer_ip: Option<&str>) -> Result<Place, String> {
        let peer_ip = peer_ip.map(|text| text.parse().expect("an address"));
        Place::new(&DemoChat { machine_id, peer_ip, ..DemoChat::of_tests() })
    }

    #[test]
    fn one_machine_has_all_members() {
        let place = place(None, None).expect("valid");
        assert_eq!(place.locals().count(), 5);
        assert_eq!(place.client(4).to_string(), "127.0.0.1:7440");
        assert_eq!(place.chat(4).to_string(), "127.0.0.1:50055");
        assert_eq!(place.own_addresses().len(), 20);
    }

    #[test]
    fn two_machines_share_them() {
        // 127.0.0.2 is reached from 127.0.0.1 or from itself, by the system's choice; ours is the one that is not the peer.
        let first = Place {
            machines: ["10.0.0.1".parse().expect("an address"), "10.0.0.2".parse().expect("an address")],
            own: Some(0),
            port_base: 7400,
            chat_port: 50051,
        };
        let second = Place { own: Some(1), ..first.clone() };
        assert_eq!(first.locals().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(second.locals().collect::<Vec<_>>(), [2, 3, 4]);
        let peers = |place: &Place| (0..5).map(|ordinal| place.peer(ordinal)).collect::<Vec<_>>();
        assert_eq!(peers(&first), peers(&second));
        assert_eq!(first.peer(2).to_string(), "10.0.0.2:7421");
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(place(Some(1), None).is_err() && place(None, Some("127.0.0.1")).is_err());
        let error = place(Some(1), Some("127.0.0.1")).expect_err("this machine");
        assert!(error.contains("is this machine"), "{error}");
    }
}
