use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::client;

/// A client of the REST API, logged in or not.
#[derive(Clone, Debug)]
pub struct Api {
    addr: SocketAddr,
    token: Option<String>,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Panics unless the status is `status`; gives the JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

impl Api {
    /// A client without a token.
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, token: None }
    }

    /// Logs in; panics when refused.
    pub async fn login(addr: SocketAddr, username: &str, password: &str) -> Self {
        let credentials = json!({ "username": username, "password": password });
        let answer = Self::new(addr).post("/api/auth/login", &credentials).await.expect(200);
        let token = answer["token"].as_str().expect("a token");
        Self { addr, token: Some(token.to_owned()) }
    }

    /// The session's token; panics when not logged in.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("logged in")
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, &[]).await
    }

    /// `POST path` with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(body), &[]).await
    }

    /// `POST path` with JSON; `None` when there is no whole answer.
    pub async fn try_post(&self, path: &str, body: &Value) -> Option<Answer> {
        self.try_call(Method::POST, path, Some(body), &[]).await
    }

    /// `PUT path` with JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, Some(body), &[]).await
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None, &[]).await
    }

    /// Any request.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        fields: &[(&str, &str)],
    ) -> Answer {
        self.try_call(method, path, body, fields).await.expect("the API answers")
    }

    async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        fields: &[(&str, &str)],
    ) -> Option<Answer> {
        let mut request =
            Request::builder().method(method).uri(format!("http://{}{path}", self.addr));
        if let Some(token) = &self.token {
            request = request.header("auth-token", token);
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = match body {
            Some(json) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(client::full(json.to_string())),
            None => request.body(client::empty()),
        };
        let mut connection = client::plain(self.addr).await.ok()?;
        let answer = connection.fetch(request.expect("a request")).await.ok()?;
        let (head, body) = answer.into_parts();
        Some(Answer { status: head.status, headers: head.headers, body })
    }

    /// Routes `pattern` to `upstream`, over HTTPS and plain HTTP, and waits until every proxy does.
    pub async fn route(&self, pattern: &str, upstream: SocketAddr) {
        let host =
            json!({ "host": pattern, "upstreams": [upstream.to_string()], "force_https": false });
        self.create(&host).await;
    }

    /// Creates a host and waits until every proxy runs it and, where a certificate is due, has it.
    pub async fn create(&self, host: &Value) {
        let answer = self.post("/api/host?wait=applied&timeout=5s", host).await.expect(201);
        assert_eq!(answer["applied"], true, "{answer}");
    }
}
