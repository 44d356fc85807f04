//! A name server that knows what a test tells it.

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, PTR, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;

/// Answers over UDP for as long as the tests run. `records`: name, type, value. A name below `silent.test` is never
/// answered for, one below `broken.test` with SERVFAIL; what is not among the records does not exist.
pub fn name_server(records: &[(&str, &str, &str)]) -> SocketAddr {
    let records: Vec<Record> = records.iter().map(parse).collect();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            // What is no question gets no answer.
            if let Ok(question) = Message::from_vec(&datagram[..length])
                && let Some(answer) = answer(question, &records)
            {
                let _ = socket.send_to(&answer.to_vec().unwrap(), from);
            }
        }
    });
    address
}

fn parse((name, kind, value): &(&str, &str, &str)) -> Record {
    let data = match (*kind, value.parse()) {
        ("A", Ok(IpAddr::V4(address))) => RData::A(A(address)),
        ("AAAA", Ok(IpAddr::V6(address))) => RData::AAAA(AAAA(address)),
        ("PTR", _) => RData::PTR(PTR(absolute(value))),
        ("TXT", _) => RData::TXT(TXT::new(vec![(*value).to_owned()])),
        _ => panic!("no record: {name} {kind} {value}"),
    };
    Record::from_rdata(absolute(name), 60, data)
}

fn absolute(name: &str) -> Name {
    let mut name = Name::from_utf8(name).unwrap();
    name.set_fqdn(true);
    name
}

fn answer(mut message: Message, records: &[Record]) -> Option<Message> {
    let query = message.queries.first()?.clone();
    let name = query.name().to_ascii().to_ascii_lowercase();
    message.metadata.message_type = MessageType::Response;
    message.additionals.clear();
    if name.ends_with("silent.test.") {
        return None;
    }
    if name.ends_with("broken.test.") {
        message.metadata.response_code = ResponseCode::ServFail;
        return Some(message);
    }
    let mut exists = false;
    for record in records.iter().filter(|record| record.name == *query.name()) {
        exists = true;
        if record.record_type() == query.query_type() {
            message.add_answer(record.clone());
        }
    }
    if !exists {
        message.metadata.response_code = ResponseCode::NXDomain;
    }
    Some(message)
}
