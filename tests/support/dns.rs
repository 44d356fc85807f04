//! A name server for a DNS of one zone, the root, which is signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hickory_resolver::proto::dnssec::crypto::EcdsaSigningKey;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData, RRSIG};
use hickory_resolver::proto::dnssec::{Algorithm, DnssecSigner, PublicKey, SigningKey};
use hickory_resolver::proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_resolver::proto::rr::rdata::{A, TLSA};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordSet, RecordType};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

const TTL: u32 = 60;

/// What it answers from.
pub struct SignedZone {
    signer: DnssecSigner,
    sets: Vec<RecordSet>,
}

impl SignedZone {
    pub fn new() -> Self {
        let pkcs8 = EcdsaSigningKey::generate_pkcs8(Algorithm::ECDSAP256SHA256).unwrap();
        let key = EcdsaSigningKey::from_pkcs8(&pkcs8, Algorithm::ECDSAP256SHA256).unwrap();
        let dnskey = DNSKEY::from_key(&key.to_public_key().unwrap());
        let years = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        let signer = DnssecSigner::new(dnskey.clone(), Box::new(key), Name::root(), years);
        let zone = Self {
            signer,
            sets: Vec::new(),
        };
        let dnskey = RData::DNSSEC(DNSSECRData::DNSKEY(dnskey));
        zone.with(".", RecordType::DNSKEY, dnskey)
    }

    pub fn with_address(self, name: &str, address: Ipv4Addr) -> Self {
        self.with(name, RecordType::A, RData::A(A(address)))
    }

    /// DANE-EE, the digest of a public key by SHA-256.
    pub fn with_tlsa(self, name: &str, digest: &[u8]) -> Self {
        let data = RData::TLSA(tlsa(digest));
        self.with(name, RecordType::TLSA, data)
    }

    /// The same with a signature that was made for another digest.
    pub fn with_forged_tlsa(self, name: &str, digest: &[u8]) -> Self {
        let mut zone = self.with_tlsa(name, &[0; 32]);
        let set = zone.sets.last_mut().unwrap();
        let record = Record::from_rdata(set.name().clone(), TTL, RData::TLSA(tlsa(digest)));
        set.set_records(vec![record]);
        zone
    }

    fn with(mut self, name: &str, record_type: RecordType, data: RData) -> Self {
        let mut name = Name::from_ascii(name).unwrap();
        name.set_fqdn(true);
        let mut set = RecordSet::with_ttl(name.clone(), record_type, TTL);
        set.add_rdata(data);
        let since = rcgen::date_time_ymd(2025, 1, 1);
        let rrsig = RRSIG::from_rrset(&set, DNSClass::IN, since, &self.signer).unwrap();
        let rrsig = RData::DNSSEC(DNSSECRData::RRSIG(rrsig));
        set.insert_rrsig(Record::from_rdata(name, TTL, rrsig));
        self.sets.push(set);
        self
    }

    /// What a resolver has to begin with, as a file says it.
    pub fn anchor(&self) -> String {
        let key = self.signer.dnskey().public_key().public_bytes();
        let (flags, algorithm) = (self.signer.dnskey().flags(), 13);
        format!(
            ". {TTL} IN DNSKEY {flags} 3 {algorithm} {}\n",
            STANDARD.encode(key)
        )
    }

    /// Serves it for as long as the process lives.
    pub fn serve(self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                let asked = Message::from_vec(&packet[..length]).unwrap();
                let answer = self.answer(&asked).to_vec().unwrap();
                socket.send_to(&answer, from).unwrap();
            }
        });
        address
    }

    fn answer(&self, asked: &Message) -> Message {
        let mut answer = Message::response(asked.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        let query: &Query = &asked.queries[0];
        answer.add_query(query.clone());
        let mut edns = Edns::new();
        edns.set_dnssec_ok(true);
        answer.set_edns(edns);
        let is_asked_for = |set: &&RecordSet| {
            set.name() == query.name() && set.record_type() == query.query_type()
        };
        match self.sets.iter().find(is_asked_for) {
            Some(set) => {
                answer.add_answers(set.records_with_rrsigs().cloned());
            }
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        answer
    }
}

fn tlsa(digest: &[u8]) -> TLSA {
    let data = digest.to_vec();
    TLSA::new(CertUsage::DaneEe, Selector::Spki, Matching::Sha256, data)
}
