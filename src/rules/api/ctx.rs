//! `ctx`: what is known of the connection and of the transaction.

use crate::mail::ReversePath;
use crate::rules::Stage;
use crate::rules::object::Object;
use crate::rules::scene::with;
use crate::script::Fault;
use rhai::plugin::*;
use rhai::{Array, Dynamic, EvalAltResult, INT};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// What was never set though its stage has begun. Nothing that a rule's author can mend.
fn missing(what: &str) -> Fault {
    Fault::new(
        format!("{what} is not known"),
        "report this as a fault of the server",
    )
}

#[export_module]
pub(super) mod functions {
    /// The address and port of the client, as in `192.0.2.1:49152` or `[2001:db8::1]:49152`. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn client_address(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Connect, |scene| {
            Ok(scene.transaction.connection.client.to_string())
        })
    }

    /// The IP address of the client: `ctx::client_ip() in net::rg_192()`. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn client_ip(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Connect, |scene| {
            Ok(scene
                .transaction
                .connection
                .client
                .ip()
                .to_canonical()
                .to_string())
        })
    }

    /// The TCP port of the client. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn client_port(call: NativeCallContext<'_>) -> Result<INT> {
        with(&call, Stage::Connect, |scene| {
            Ok(INT::from(scene.transaction.connection.client.port()))
        })
    }

    /// The address and port that the client connected to. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn server_address(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Connect, |scene| {
            Ok(scene.transaction.connection.server.to_string())
        })
    }

    /// The IP address that the client connected to. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn server_ip(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Connect, |scene| {
            Ok(scene
                .transaction
                .connection
                .server
                .ip()
                .to_canonical()
                .to_string())
        })
    }

    /// The TCP port that the client connected to: 25, 587 or 465 as a rule. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn server_port(call: NativeCallContext<'_>) -> Result<INT> {
        with(&call, Stage::Connect, |scene| {
            Ok(INT::from(scene.transaction.connection.server.port()))
        })
    }

    /// When the connection was accepted, as in `2026-08-01T12:34:56.789Z`. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn connection_timestamp(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Connect, |scene| {
            Ok(scene.transaction.connection.opened.to_string())
        })
    }

    /// The name of this server (`server.name`), never one that the client chose. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn server_name(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Connect, |scene| {
            Ok(scene.transaction.connection.server_name.to_string())
        })
    }

    /// Whether the connection is under TLS, be it implicit or by STARTTLS. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn is_secured(call: NativeCallContext<'_>) -> Result<bool> {
        with(&call, Stage::Connect, |scene| {
            Ok(scene.transaction.connection.tls.is_some())
        })
    }

    /// Whether the client has proved who it is, as `auth::is_authenticated()`. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn is_authenticated(call: NativeCallContext<'_>) -> Result<bool> {
        with(&call, Stage::Connect, |scene| {
            Ok(scene.transaction.connection.authenticated.is_some())
        })
    }

    /// The version of TLS, as in `TLSv1.3`; empty in clear. From `helo` on.
    #[rhai_fn(return_raw)]
    pub fn tls_version(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Helo, |scene| {
            let tls = scene.transaction.connection.tls.as_ref();
            Ok(tls
                .map(|tls| tls.version.clone().into_owned())
                .unwrap_or_default())
        })
    }

    /// The IANA name of the cipher suite, as in `TLS_AES_256_GCM_SHA384`; empty in clear. From `helo` on.
    #[rhai_fn(return_raw)]
    pub fn tls_cipher(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Helo, |scene| {
            let tls = scene.transaction.connection.tls.as_ref();
            Ok(tls
                .map(|tls| tls.cipher.clone().into_owned())
                .unwrap_or_default())
        })
    }

    /// The server name that the client asked for in its TLS handshake, in lower case; empty when it asked for none, and
    /// in clear. From `helo` on.
    #[rhai_fn(return_raw)]
    pub fn tls_sni(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Helo, |scene| {
            let tls = scene.transaction.connection.tls.as_ref();
            Ok(tls.and_then(|tls| tls.sni.clone()).unwrap_or_default())
        })
    }

    /// The name that the client gave in EHLO or HELO. From `helo` on.
    #[rhai_fn(return_raw)]
    pub fn helo(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Helo, |scene| {
            let helo = scene.transaction.connection.helo.as_ref();
            Ok(helo
                .ok_or_else(|| missing("the name of the client"))?
                .name
                .clone())
        })
    }

    /// The reverse-path: an address with `.local_part` and `.domain`, equal to `""` when it is the null path `<>`. From
    /// `mail` on.
    #[rhai_fn(return_raw)]
    pub fn mail_from(call: NativeCallContext<'_>) -> Result<Object> {
        with(&call, Stage::Mail, |scene| {
            Ok(Object::Path(scene.envelope().reverse_path.clone()))
        })
    }

    /// When MAIL FROM was given, as in `2026-08-01T12:34:56.789Z`. From `mail` on.
    #[rhai_fn(return_raw)]
    pub fn mail_timestamp(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Mail, |scene| {
            let started = scene.transaction.started;
            Ok(started
                .ok_or_else(|| missing("the time of MAIL FROM"))?
                .to_string())
        })
    }

    /// The id that the message goes by in the log, in the Received field and in the queue. From `mail` on.
    #[rhai_fn(return_raw)]
    pub fn message_id(call: NativeCallContext<'_>) -> Result<String> {
        with(&call, Stage::Mail, |scene| {
            let id = scene.transaction.id;
            Ok(id
                .ok_or_else(|| missing("the id of the message"))?
                .to_string())
        })
    }

    /// The forward-path of this RCPT TO, an address with `.local_part` and `.domain`; after `rcpt` the last one. From
    /// `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn rcpt(call: NativeCallContext<'_>) -> Result<Object> {
        with(&call, Stage::Rcpt, |scene| {
            let last = scene
                .transaction
                .envelope
                .as_ref()
                .and_then(|e| e.recipients.last());
            let recipient = scene.recipient.as_ref().or(last);
            let address = recipient
                .ok_or_else(|| missing("the recipient"))?
                .address
                .clone();
            Ok(Object::Path(ReversePath(Some(address))))
        })
    }

    /// The forward-paths so far, this one included. After `rcpt` those that the rule file at hand is responsible for.
    /// From `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn rcpt_list(call: NativeCallContext<'_>) -> Result<Array> {
        with(&call, Stage::Rcpt, |scene| {
            let current = scene.recipient.clone();
            let recipients = scene.envelope().recipients.iter().chain(current.iter());
            Ok(recipients
                .map(|recipient| Object::Path(ReversePath(Some(recipient.address.clone()))))
                .map(Dynamic::from)
                .collect())
        })
    }
}
