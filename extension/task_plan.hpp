// task_plan: the plans of sql tasks' statements, kept in a session.
#pragma once

#include "pg/postgres.hpp"

namespace sluice {

/// The plan of a statement that takes the payload; made once in a session for each role, search_path and text, as a plan
/// holds what its role may do and what its names mean there.  Called under that role and search_path, with an SPI
/// connection.  nullptr where the text is several statements, which may need each other's effects to be understood.
SPIPlanPtr task_plan(Oid role, const char *search_path, const char *statement);

} // namespace sluice
