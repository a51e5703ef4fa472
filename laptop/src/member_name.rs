//! What a person calls a member: its ordinal, or its name `<store>-<ordinal>`.

/// The name of a store's member.
pub fn member_name(store: &str, ordinal: u8) -> String {
    format!("{store}-{ordinal}")
}

/// No such member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{store} has no member {given:?}; its members are {}", all(.store, *.replicas))]
pub struct NoSuchMember {
    store: String,
    replicas: u8,
    given: String,
}

fn all(store: &str, replicas: u8) -> String {
    let names: Vec<String> =
        (0..replicas).map(|ordinal| format!("{ordinal} ({})", member_name(store, ordinal))).collect();
    names.join(", ")
}

/// Which member of a store of so many `given` means.
///
/// # Errors
/// None of them.
pub fn find_member(store: &str, replicas: u8, given: &str) -> Result<u8, NoSuchMember> {
    (0..replicas)
        .find(|ordinal| given == ordinal.to_string() || given == member_name(store, *ordinal))
        .ok_or_else(|| NoSuchMember { store: store.to_owned(), replicas, given: given.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_go_by_ordinal_and_by_name() {
        let find = |given| find_member("orders", 2, given);
        assert_eq!(find("1"), Ok(1));
        assert_eq!(find("orders-0"), Ok(0));
        for wrong in ["2", "01", "", "orders", "orders-2", "other-0", "-1"] {
            find(wrong).expect_err(wrong);
        }
        let error = find("7").expect_err("there are two").to_string();
        assert_eq!(error, "orders has no member \"7\"; its members are 0 (orders-0), 1 (orders-1)");
    }
}
