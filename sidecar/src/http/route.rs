//! Which routes a port has: the one table for the dispatch of unknown requests, the metrics' labels and the answer
//! that lists what exists.

/// One route of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The path; `{key}` at its end stands for everything that follows, and is not empty. `{log}` and `{id}` stand for one
    /// piece between slashes, which is not empty either.
    pub(crate) path: &'static str,
    /// The methods it takes.
    pub(crate) methods: &'static [&'static str],
}

/// All routes of a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routes(pub(crate) &'static [Route]);

/// What a request that fits no route is counted as.
pub(crate) const NO_ROUTE: &str = "none";

/// What a method that no route takes is counted as.
const OTHER_METHOD: &str = "OTHER";

/// Methods that are counted by name.
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

impl Routes {
    /// The route of a path, whatever the method.
    pub(crate) fn find(self, path: &str) -> Option<&'static Route> {
        self.0.iter().find(|route| route.fits(path))
    }

    /// Every route in one line of text.
    pub(crate) fn list(self) -> String {
        let each = self.0.iter().map(|route| format!("{} {}", route.methods.join("|"), route.path));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl Route {
    fn fits(&self, path: &str) -> bool {
        match self.path.strip_suffix("{key}") {
            Some(prefix) => path.len() > prefix.len() && path.starts_with(prefix),
            None if self.path.contains('{') => {
                let mut pieces = path.split('/');
                let mut ours = self.path.split('/');
                let fits = |piece: &str, our: &str| {
                    if our.starts_with('{') { !piece.is_empty() } else { piece == our }
                };
                ours.all(|our| pieces.next().is_some_and(|piece| fits(piece, our))) && pieces.next().is_none()
            }
            None => path == self.path,
        }
    }

    /// Whether it takes this method.
    pub(crate) fn takes(&self, method: &str) -> bool {
        self.methods.contains(&method)
    }
}

/// The label of a method: its name if it is one of ours, so that clients cannot make series.
pub(crate) fn method_label(method: &str) -> &'static str {
    METHODS.into_iter().find(|&known| known == method).unwrap_or(OTHER_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: Routes = Routes(&[
        Route { path: "/v1/kv", methods: &["GET"] },
        Route { path: "/v1/kv/{key}", methods: &["GET", "PUT"] },
    ]);

    #[test]
    fn a_path_has_one_route() {
        let of = |path| ROUTES.find(path).map(|route| route.path);
        assert_eq!(of("/v1/kv"), Some("/v1/kv"));
        assert_eq!(of("/v1/kv/"), None);
        assert_eq!(of("/v1/kv/a"), Some("/v1/kv/{key}"));
        assert_eq!(of("/v1/kv/a/b//"), Some("/v1/kv/{key}"));
        assert_eq!(of("/v1/kvs"), None);
        assert_eq!(ROUTES.list(), "GET /v1/kv, GET|PUT /v1/kv/{key}");
    }

    #[test]
    fn a_piece_of_a_path_may_be_a_name() {
        let route = |path| Route { path, methods: &["GET"] };
        let check = |path, yes: &[&str], no: &[&str]| {
            yes.iter().for_each(|fitting| assert!(route(path).fits(fitting), "{fitting} in {path}"));
            no.iter().for_each(|other| assert!(!route(path).fits(other), "{other} not in {path}"));
        };
        check("/v1/logs/{log}", &["/v1/logs/a"], &["/v1/logs", "/v1/logs/", "/v1/logs/a/", "/v1/logs/a/b"]);
        check(
            "/v1/logs/{log}/messages/{id}",
            &["/v1/logs/a/messages/7"],
            &["/v1/logs//messages/7", "/v1/logs/a/x/7"],
        );
    }

    #[test]
    fn methods_of_clients_make_no_labels() {
        assert_eq!(method_label("PUT"), "PUT");
        assert_eq!(method_label("BREW"), "OTHER");
    }
}
