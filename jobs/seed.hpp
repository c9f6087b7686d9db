// Brings what the configuration declares (groups, upstream keys, access keys) into the store: at
// each start and reload. What people changed through the API stays, unless the declaration itself
// has changed since it was last applied.
#pragma once

#include "config/settings.hpp"
#include "core/clock.hpp"
#include "core/crypto.hpp"
#include "core/error.hpp"
#include "core/ids.hpp"
#include "jobs/catalog.hpp"

namespace kw::jobs {

struct seed_context {
    store::store& store;
    const crypto::sealer& sealer;
    const secret& pepper;
    const clock_source& clock;
    random_source& random;
};

// The pool group that a declared one stands for, and the global defaults for one made by nobody.
[[nodiscard]] pool::group to_group(const config::group_settings& g);

// Compares with the catalog (fresh from the store) and writes the differences. A replica that
// seeds at the same time may win a write: that is no error.
[[nodiscard]] result<void> seed(const config::settings& settings, const catalog& known,
                                const seed_context& with);

// Makes an access key, stores its hash, returns its text.
[[nodiscard]] result<secret> make_access_key(const std::string& name, const seed_context& with);

}  // namespace kw::jobs
