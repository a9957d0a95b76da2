// news: what the leader has to be told, since it does not look for it; see news.cpp.
#pragma once

namespace sluice::news {

/// Runs wait until an instant that the leader may not know of, once this transaction is committed.
void delayed();

} // namespace sluice::news
