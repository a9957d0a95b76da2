// session: which cluster, database and backend this is, for C++; session.cpp has their SQL faces.
#pragma once

namespace sluice {

/// The cluster's system identifier and the database's oid, as sluice.meta remembers them.
const char *home();

} // namespace sluice
