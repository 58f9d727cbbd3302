//! Listening sockets that a service manager has opened before it started this process (systemd's `LISTEN_FDS`).

use std::env;
use std::io;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex, PoisonError};

use listenfd::ListenFd;

/// Every descriptor is handed out once, whoever asks.
static HANDED_OVER: LazyLock<Mutex<ListenFd>> = LazyLock::new(|| Mutex::new(ListenFd::from_env()));

/// Takes the sockets that go by `name` in `LISTEN_FDNAMES`, at least one; as many as the manager gave that name.
/// Without that variable the sockets are called `unknown`, as systemd says.
///
/// # Errors
/// When there is none of that name (the error says which there are), it was taken before, or it is no TCP socket.
#[expect(clippy::disallowed_methods, reason = "no setting: it belongs to the descriptors")]
pub fn inherited_listeners(name: &str) -> io::Result<Vec<TcpListener>> {
    let mut sockets = HANDED_OVER.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names(sockets.len(), env::var("LISTEN_FDNAMES").ok().as_deref());
    let mut found = Vec::new();
    for index in indices(&names, name) {
        found.extend(sockets.take_tcp_listener(index)?);
    }
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, missing(&names, name)));
    }
    Ok(found)
}

/// The name of each of `count` sockets.
fn names(count: usize, told: Option<&str>) -> Vec<String> {
    let mut names: Vec<String> =
        told.map(|told| told.split(':').map(str::to_owned).collect()).unwrap_or_default();
    names.resize(count, "unknown".to_owned());
    names
}

fn indices(names: &[String], name: &str) -> Vec<usize> {
    names.iter().enumerate().filter(|(_, one)| *one == name).map(|(at, _)| at).collect()
}

fn missing(names: &[String], name: &str) -> String {
    if names.iter().any(|one| one == name) {
        return format!("the socket {name:?} is used twice");
    }
    match names {
        [] => "the service manager handed over no socket (LISTEN_FDS and LISTEN_PID)".to_owned(),
        names => format!("no socket is called {name:?} but: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_go_by_their_names() {
        let told = names(3, Some("web:tls:web"));
        assert_eq!(indices(&told, "web"), [0, 2]);
        assert_eq!(indices(&told, "tls"), [1]);
        assert!(indices(&told, "api").is_empty());
        assert_eq!(missing(&told, "api"), "no socket is called \"api\" but: web, tls, web");
        assert_eq!(missing(&told, "tls"), "the socket \"tls\" is used twice");
        assert_eq!(names(2, None), ["unknown", "unknown"]);
        assert_eq!(names(2, Some("web")), ["web", "unknown"]);
        assert!(missing(&names(0, Some("web")), "web").contains("LISTEN_FDS"));
    }

    #[test]
    fn a_process_that_was_given_nothing_says_so() {
        assert_eq!(inherited_listeners("web").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
