use model::Role;

/// Something an account may or may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Permission {
    /// Have proxies believe a store that was replaced or emptied.
    AcceptStore,
    /// See hosts, what a name resolves to, certificates and status.
    Read,
    /// Create, change and delete hosts.
    WriteHosts,
    /// Create, change and delete DNS providers and their credentials.
    WriteProviders,
    /// Create, change and delete accounts.
    WriteUsers,
    /// Take everything out, and put everything in.
    Backup,
}

/// Whether a role carries a permission. A higher role may do all that a lower one may.
pub fn allows(role: Role, permission: Permission) -> bool {
    let least = match permission {
        Permission::Read => Role::Viewer,
        Permission::WriteHosts => Role::Manager,
        Permission::AcceptStore
        | Permission::Backup
        | Permission::WriteProviders
        | Permission::WriteUsers => Role::Admin,
    };
    role >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_the_table_says() {
        let table = [
            (Role::Viewer, [true, false, false, false, false, false]),
            (Role::Manager, [true, true, false, false, false, false]),
            (Role::Admin, [true; 6]),
        ];
        for (role, row) in table {
            let permissions = [
                Permission::Read,
                Permission::WriteHosts,
                Permission::WriteUsers,
                Permission::AcceptStore,
                Permission::Backup,
                Permission::WriteProviders,
            ];
            assert_eq!(permissions.map(|p| allows(role, p)), row, "{role:?}");
        }
    }
}
