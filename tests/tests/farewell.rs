//! The last reply and the end of a connection are one packet: two would wake the client twice, and a client that has gone at the
//! first answers the second with a reset.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::world::World;
use socket2::{Domain, Protocol, Socket, Type};

/// Every kind of frame, as a packet socket is asked for it: in network order (packet(7)).
const ALL_FRAMES: i32 = 0x0003_u16.to_be() as i32;
/// How long a packet is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// All that comes to the clients' side from now on.
fn listen(world: &World) -> Result<Socket> {
    world.internet.enter(|| {
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ALL_FRAMES)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    })
}

/// What the gateway says in the packet with which it ends an SMTP connection over IPv4.
fn last_packet(socket: &mut Socket) -> Result<String> {
    let mut frame = vec![0; 1 << 16];
    loop {
        let length = match socket.read(&mut frame) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                anyhow::bail!("the connection did not end")
            }
            length => length?,
        };
        if let Some(said) = said_at_the_end(&frame[..length]) {
            return Ok(String::from_utf8(said.to_vec())?);
        }
    }
}

/// What a frame carries that comes from port 25 with the flag FIN.
fn said_at_the_end(frame: &[u8]) -> Option<&[u8]> {
    let (ethernet, packet) = frame.split_at_checked(14)?;
    let header = usize::from(packet.first()? & 15) * 4;
    let length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let segment = packet.get(header..length)?;
    let is_tcp = ethernet.ends_with(&[0x08, 0x00]) && packet.get(9) == Some(&6);
    let ends = segment.starts_with(&25_u16.to_be_bytes()) && segment.get(13)? & 1 != 0;
    (is_tcp && ends).then(|| segment.get(usize::from(segment.get(12)? >> 4) * 4..))?
}

#[test]
fn the_last_reply_and_the_end_of_the_connection_are_one_packet() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "[sessions]\nmaximum_sessions_per_address = 1\n")?;
        let mut client = Client::greeted(world, "203.0.113.30")?;
        let mut packets = listen(world)?;
        let mut beyond = Client::connect(world, "203.0.113.30")?;
        beyond.expect(421)?;
        let said = last_packet(&mut packets)?;
        ensure!(said.starts_with("421 4.3.2 ") && said.ends_with("\r\n"), "a refusal ends with {said:?}");

        drop(beyond);
        client.ask("QUIT", 221)?;
        let said = last_packet(&mut packets)?;
        ensure!(said.starts_with("221 ") && said.ends_with("\r\n"), "a session ends with {said:?}");

        drop(client);
        let mut ended = Client::greeted(world, "203.0.113.31")?;
        let sessions = ask(world, &["sessions", "list"])?;
        let id = sessions["sessions"][0]["id"].as_u64().context("no session")?.to_string();
        ask(world, &["sessions", "end", &id])?;
        ended.expect(421)?;
        let said = last_packet(&mut packets)?;
        ensure!(said.starts_with("421 ") && said.ends_with("\r\n"), "an ended session ends with {said:?}");
        Ok(())
    });
}
