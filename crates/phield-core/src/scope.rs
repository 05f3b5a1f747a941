//! Which keys serve which tables and tenants (format §8.1): a choice of configuration, checked on every open.

use crate::name::{ScopeName, TableName, TenantName};

/// One rule: rows of this table (any, if absent) and tenant (any, if absent) are sealed under this scope.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ScopeRule {
    table: Option<TableName>,
    tenant: Option<TenantName>,
    /// The scope that seals, first, then the scopes that sealed before.
    scopes: Vec<Option<ScopeName>>,
}

/// Assigns scopes to tables and tenants. The first rule that matches decides; without one, keys without a scope serve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes {
    rules: Vec<ScopeRule>,
    default: [Option<ScopeName>; 1],
}

impl Scopes {
    /// Adds a rule: rows of `table` and `tenant` (any, where `None`) are sealed under `scope`, and open under it and
    /// under the scopes of `former`. `None` as a scope means the keys without one.
    #[must_use]
    pub fn assign(
        mut self,
        table: Option<TableName>,
        tenant: Option<TenantName>,
        scope: Option<ScopeName>,
        former: impl IntoIterator<Item = Option<ScopeName>>,
    ) -> Self {
        let scopes = std::iter::once(scope).chain(former).collect();
        self.rules.push(ScopeRule {
            table,
            tenant,
            scopes,
        });
        self
    }

    /// The scopes under which rows of this table and tenant may open.
    pub(crate) fn listed(&self, table: &TableName, tenant: Option<&TenantName>) -> &[Option<ScopeName>] {
        let matches = |rule: &&ScopeRule| {
            rule.table.as_ref().is_none_or(|t| t == table)
                && rule.tenant.as_ref().is_none_or(|t| Some(t) == tenant)
        };
        self.rules
            .iter()
            .find(matches)
            .map_or(&self.default, |rule| &rule.scopes)
    }

    /// The scope of what belongs to a tenant and to no table: by the rules that name no table.
    pub(crate) fn of_tenant(&self, tenant: Option<&TenantName>) -> Option<&ScopeName> {
        let matches = |rule: &&ScopeRule| {
            rule.table.is_none() && rule.tenant.as_ref().is_none_or(|t| Some(t) == tenant)
        };
        let rule = self.rules.iter().find(matches);
        rule.and_then(|rule| rule.scopes.first()).and_then(Option::as_ref)
    }

    /// The scope under which rows of this table and tenant are sealed.
    pub(crate) fn current(&self, table: &TableName, tenant: Option<&TenantName>) -> Option<&ScopeName> {
        self.listed(table, tenant).first().and_then(Option::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_rule_decides() {
        let scope = |name: &str| Some(ScopeName::new(name).unwrap());
        let table = |name: &str| TableName::new(name).unwrap();
        let tenant = TenantName::from_static("t1");
        let scopes = Scopes::default()
            .assign(
                Some(table("notes")),
                Some(tenant.clone()),
                scope("both"),
                [None, scope("old")],
            )
            .assign(Some(table("notes")), None, scope("notes"), [])
            .assign(None, Some(tenant.clone()), scope("t1"), []);
        let current = |t: &str, tenant| scopes.current(&table(t), tenant).map(ScopeName::as_str);
        assert_eq!(current("notes", Some(&tenant)), Some("both"));
        assert_eq!(current("notes", None), Some("notes"));
        assert_eq!(current("labs", Some(&tenant)), Some("t1"));
        assert_eq!(current("labs", None), None);
        assert_eq!(
            scopes.listed(&table("notes"), Some(&tenant)),
            [scope("both"), None, scope("old")]
        );
    }
}
