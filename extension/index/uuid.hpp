// uuid: lease tokens as Postgres passes them.
#pragma once

#include "core/token.hpp"

#include "pg/postgres.hpp"

namespace sluice::index {

inline core::Token token_of(Datum uuid)
{
    core::Token token;
    memcpy(token.data(), DatumGetUUIDP(uuid)->data, UUID_LEN);
    return token;
}

inline Datum uuid_of(const core::Token &token)
{
    auto *uuid = static_cast<pg_uuid_t *>(palloc(sizeof(pg_uuid_t)));
    memcpy(uuid->data, token.data(), UUID_LEN);
    return UUIDPGetDatum(uuid);
}

} // namespace sluice::index
