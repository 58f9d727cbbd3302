use std::io;
use std::path::Path;

use model::{Host, Hostname};
use proxy::Tables;
use serde_json::{Value, json};
use store::{Fields, Record, Sealer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use runtime::with_causes;

/// The longest answer that is read.
const LONGEST: u64 = 256 * 1024;

/// Asks the lookup socket for the names that requests wait for. Never ends.
pub(crate) async fn serve(socket: Option<&Path>, tables: &Tables, sealer: &Sealer) {
    let Some(socket) = socket else { return std::future::pending().await };
    let find = async |name: Hostname| {
        let answer = ask(socket, &name).await.inspect_err(|error| {
            tracing::debug!(%error, socket = %socket.display(), "no answer to a lookup");
        });
        host(&answer.ok()?, sealer)
    };
    tables.lookups().serve(find).await;
}

/// The answer for one name, a line of JSON.
async fn ask(socket: &Path, name: &Hostname) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    let question = format!("{}\n", json!({ "domain": name.as_str() }));
    stream.write_all(question.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line).await?;
    match line.ends_with('\n') {
        true => Ok(line),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The host of an answer: none in `{}`, nor in what makes no sense.
fn host(line: &str, sealer: &Sealer) -> Option<Host> {
    let Ok(Value::Object(record)) = serde_json::from_str(line) else { return None };
    let fields: Fields = record.into_iter().map(|(name, value)| (name, text(value))).collect();
    let id = fields.get("host")?;
    Host::from_fields(id, &fields, sealer)
        .inspect_err(|error| {
            tracing::debug!(error = with_causes(error), "no host in a lookup's answer");
        })
        .ok()
}

/// A value as it is stored.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_the_record_it_was() {
        let sealer = Sealer::new(None, None, true).unwrap();
        let line = r#"{"host":"*.a.test","ip":"10.0.0.1","targetPort":80,"targets":["10.0.0.2:81"],
            "forcessl":false,"targetssl":true,"wildcard_matchAny":true,"created_on":"5","later":null}"#;
        let host = super::host(line, &sealer).unwrap();
        let upstreams: Vec<_> = host.upstreams.iter().map(ToString::to_string).collect();
        assert_eq!(upstreams, ["10.0.0.1:80", "10.0.0.2:81"]);
        assert!(host.enabled && !host.force_https && host.created_at.as_millis() == 5);
        for none in ["{}", "", "[]", "nonsense", r#"{"host":"a b"}"#, r#"{"ip":"10.0.0.1"}"#] {
            assert!(super::host(none, &sealer).is_none(), "{none}");
        }
    }
}
