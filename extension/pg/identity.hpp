// identity: who a piece of code runs as.
//
// Public functions are called by anybody who was granted them and work on tables that only the storage's owner may
// touch.  They switch to that owner the way referential-integrity triggers do: a local change of the user id, under
// which SET ROLE and SET SESSION AUTHORIZATION are refused and which (sub)transaction abort undoes by itself.
// SECURITY DEFINER is not used: it would run the owner's triggers as the superuser who installed the extension.
#pragma once

#include "pg/postgres.hpp"

namespace sluice::pg {

/// The role whose rights held before a switch, and how to go back.  Plain data: an error needs no restoring, since
/// Postgres restores the user id when the (sub)transaction aborts.
struct Identity {
    Oid role;
    int security_context;
};

/// Runs as `role` until become(returned value).
Identity switch_to(Oid role);

/// Switches to the storage's owner.  As the owner nothing can be put off to the end of the transaction, when the caller
/// is in force again: a deferred trigger of the owner's, or a cursor with hold, would run with the caller's rights.
Identity switch_to_owner(Oid owner);

void become(const Identity &before);

/// The owner of the storage in `schema`.  Raises SL010 before setup(), and SL011 if the owner is a superuser, since
/// everything public would then run as a superuser.
Oid storage_owner(Oid schema);

/// The schema that the extension lives in.
Oid extension_schema();

/// The role that called the outermost public function of this stack, whoever we are by now; InvalidOid outside.
Oid caller();

} // namespace sluice::pg
