// The module: what the server sees when it loads the library.

#include "pg/boundary.hpp"
#include "settings.hpp"

extern "C" {
PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void _PG_init(void)
{
    sluice::define_settings();
}
}

// sluice.version() returns text: the version of this library.
SLUICE_FUNCTION(sluice_version)
{
    (void)fcinfo;
    PG_RETURN_TEXT_P(cstring_to_text(SLUICE_VERSION));
}
