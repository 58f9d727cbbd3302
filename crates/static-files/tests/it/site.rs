//! A directory in a temporary place, and requests to it.

use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use static_files::{Directory, Head, Options};
use tempfile::TempDir;

pub(crate) struct Site {
    /// What is around the root; nothing of it may ever be served.
    pub(crate) around: TempDir,
    pub(crate) directory: Directory,
}

impl Site {
    /// A site with these files (name, content) under `root`.
    pub(crate) fn new(files: &[(&str, &str)], options: Options) -> Self {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().join("root");
        std::fs::create_dir(&root).unwrap();
        for (name, content) in files {
            write(&root.join(name), content);
        }
        let directory = Directory::open(&root, options).unwrap();
        Self { around, directory }
    }

    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.around.path().join("root")
    }

    pub(crate) async fn get(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask(&Method::GET, target, fields).await
    }

    pub(crate) async fn ask(
        &self,
        method: &Method,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let headers = map(fields);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let head = Head { method, path, query, headers: &headers };
        collect(self.directory.serve(head).await.unwrap()).await
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A field's value, or nothing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(crate) async fn collect<B: http_body::Body<Data = Bytes>>(response: Response<B>) -> Answer
where
    B::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

pub(crate) fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (http::HeaderName::try_from(*name).unwrap(), http::HeaderValue::try_from(*value).unwrap())
    };
    fields.iter().map(pair).collect()
}

pub(crate) fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}
