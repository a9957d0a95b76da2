// clean_session: what a session remembers is forgotten, but for its plans.
#pragma once

namespace sluice {

/// All but the settings.  At the top level of a session, outside of any function of a task's.
void forget_in_session();

} // namespace sluice
