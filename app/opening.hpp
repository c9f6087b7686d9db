// From settings to what the store is opened with, for the server and for the verbs that work on the
// store themselves.
#pragma once

#include <memory>

#include "config/settings.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "store/store.hpp"

namespace kw::app {

[[nodiscard]] store::retention retention_of(const config::settings& s);
[[nodiscard]] store::redis_options redis_options_of(const config::settings& s);

// The store as configured, where there is one: none is made. errc::store_not_found,
// errc::store_unavailable. The clock outlives the store.
[[nodiscard]] result<std::unique_ptr<store::store>> open_existing(const config::settings& s,
                                                                  const clock_source& clock);

}  // namespace kw::app
