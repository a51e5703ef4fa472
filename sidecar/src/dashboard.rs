//! The dashboard's page: a few files in the program, served by a member and by the runner of a store on one machine alike.
//!
//! | part | does |
//! |---|---|
//! | `sidecar/dashboard` | the files themselves: HTML, a style sheet, modules; no build step, nothing from elsewhere |
//! | [`asset`] | gives one of them, with its type, its tag, and what a browser may do with it |
//! | [`guard`] | who may give orders |
//!
//! A browser may load and ask nothing but what comes from where the page came from, and runs no script and no style that is in the page
//! itself. What this refuses to do: know what the page shows; that is [`holdfast_api::http::Live`].

pub mod guard;

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

/// What a page may do: nothing that is not named here.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Only pages of the same origin may load it.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What the page says of who serves it, as it is in the file.
const SERVED_BY_MEMBER: &str = "data-served-by=\"member\"";
/// And as a runner serves it.
const SERVED_BY_RUNNER: &str = "data-served-by=\"runner\"";

/// Who serves the page. A runner's page can give orders, and looks at the store through every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// A member, on its client port.
    Member,
    /// Whatever runs the members of a store on one machine.
    Runner,
}

/// One file of the page.
#[derive(Debug)]
pub struct Asset {
    path: &'static str,
    content_type: HeaderValue,
    content: Bytes,
    tag: HeaderValue,
}

/// The page of a member, then that of a runner; everything else is the same.
static PAGES: LazyLock<[Asset; 2]> = LazyLock::new(|| {
    let page = include_str!("../dashboard/index.html");
    assert!(page.contains(SERVED_BY_MEMBER), "the page says who serves it");
    let runners = page.replace(SERVED_BY_MEMBER, SERVED_BY_RUNNER);
    [Asset::new("", HTML, page.into()), Asset::new("", HTML, runners.into())]
});

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |path, content_type, content: &'static str| Asset::new(path, content_type, content.into());
    vec![
        asset("charts.js", SCRIPT, include_str!("../dashboard/charts.js")),
        asset("dashboard.css", STYLE, include_str!("../dashboard/dashboard.css")),
        asset("dashboard.js", SCRIPT, include_str!("../dashboard/dashboard.js")),
        asset("icon.svg", IMAGE, include_str!("../dashboard/icon.svg")),
        asset("links.js", SCRIPT, include_str!("../dashboard/links.js")),
        asset("orders.js", SCRIPT, include_str!("../dashboard/orders.js")),
        asset("rates.js", SCRIPT, include_str!("../dashboard/rates.js")),
        asset("sections.js", SCRIPT, include_str!("../dashboard/sections.js")),
        asset("stream.js", SCRIPT, include_str!("../dashboard/stream.js")),
        asset("table.js", SCRIPT, include_str!("../dashboard/table.js")),
        asset("words.js", SCRIPT, include_str!("../dashboard/words.js")),
        asset("uplot/uPlot.esm.js", SCRIPT, UPLOT),
        asset("uplot/uPlot.min.css", STYLE, UPLOT_STYLE),
        asset("uplot/LICENSE", TEXT, include_str!("../dashboard/uplot/LICENSE")),
    ]
});

const UPLOT: &str = include_str!("../dashboard/uplot/uPlot.esm.js");
const UPLOT_STYLE: &str = include_str!("../dashboard/uplot/uPlot.min.css");

const HTML: &str = "text/html; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The file of the page at `path`, which is what follows `/dashboard/`; empty for the page itself.
pub fn asset(server: Server, path: &str) -> Option<&'static Asset> {
    match (path, server) {
        ("", Server::Member) => Some(&PAGES[0]),
        ("", Server::Runner) => Some(&PAGES[1]),
        _ => ASSETS.iter().find(|asset| asset.path == path),
    }
}

impl Asset {
    fn new(path: &'static str, content_type: &'static str, content: Bytes) -> Asset {
        let digest = Sha256::digest(&content);
        let tag: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::try_from(format!("\"{tag}\"")).expect("digits and quotes");
        Asset { path, content_type: HeaderValue::from_static(content_type), content, tag }
    }

    /// The answer to a request with these headers: the file, or that it has not changed. Whoever was asked by HEAD leaves the body out.
    pub fn answer(&self, request: &HeaderMap) -> Response<Bytes> {
        let known = request.get_all(IF_NONE_MATCH).iter().any(|tags| self.is_among(tags));
        let mut response = Response::new(if known { Bytes::new() } else { self.content.clone() });
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        protect(headers);
        headers.insert(ETAG, self.tag.clone());
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        // Kept, and asked for again each time: a member that was updated has another page.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn is_among(&self, tags: &HeaderValue) -> bool {
        let same = |tag: &str| tag == "*" || self.tag == tag.strip_prefix("W/").unwrap_or(tag);
        tags.to_str().is_ok_and(|tags| tags.split(',').any(|tag| same(tag.trim())))
    }
}

/// Tell browsers what they may do with an answer to the page.
pub fn protect(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(content: &str) -> String {
        Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_library_is_as_it_was_released() {
        // uPlot 1.6.32 as published; see sidecar/dashboard/uplot/README.md.
        assert_eq!(hex(UPLOT), "5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba");
        assert_eq!(hex(UPLOT_STYLE), "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04");
    }

    /// Every file that another one names is there, so that the page works offline, and nothing is named that is elsewhere.
    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let ours = ASSETS.iter().filter(|asset| !asset.path.starts_with("uplot/"));
        for asset in PAGES.iter().chain(ours) {
            let text = std::str::from_utf8(&asset.content).expect("text");
            let words = text.split(['"', '\'', '`', '(', ')', ' ', '\n']);
            for word in words {
                let elsewhere =
                    word.starts_with("http:") || word.starts_with("https:") || word.starts_with("//");
                let is_name = word == "http://www.w3.org/2000/svg" || word == "//";
                assert!(!elsewhere || is_name, "{} names {word}", asset.path);
                let named = word.strip_prefix("./").or_else(|| word.strip_prefix("dashboard/"));
                if let Some(named) = named.filter(|named| named.ends_with(".js") || named.ends_with(".css")) {
                    assert!(super::asset(Server::Member, named).is_some(), "{} names {named}", asset.path);
                }
            }
        }
    }

    #[test]
    fn a_page_has_no_script_and_no_style_of_its_own() {
        for page in PAGES.iter() {
            let text = std::str::from_utf8(&page.content).expect("text");
            assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains(" on"), "inline");
            assert_eq!(text.matches("<script").count(), text.matches("<script type=\"module\" src=").count());
        }
    }

    #[test]
    fn a_file_that_has_not_changed_is_not_sent_again() {
        let asset = asset(Server::Member, "dashboard.css").expect("it is there");
        let check = |tags: &str, status: u16| {
            let mut request = HeaderMap::new();
            request.insert(IF_NONE_MATCH, HeaderValue::try_from(tags).expect("a header"));
            let answer = asset.answer(&request);
            assert_eq!(answer.status().as_u16(), status, "{tags}");
            assert_eq!(answer.body().is_empty(), status == 304, "{tags}");
            assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(answer.headers()[CONTENT_TYPE], STYLE);
        };
        let tag = asset.tag.to_str().expect("text");
        check(tag, 304);
        check(&format!("\"other\", W/{tag}"), 304);
        check("*", 304);
        check("\"other\"", 200);
    }

    #[test]
    fn a_runners_page_says_so() {
        let text = |server| asset(server, "").map(|page| page.content.clone()).expect("a page");
        assert_ne!(text(Server::Member), text(Server::Runner));
        assert!(
            asset(Server::Runner, "dashboard.js").is_some()
                && asset(Server::Member, "../Cargo.toml").is_none()
        );
    }
}
