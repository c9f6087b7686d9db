// The one place that knows which settings are the store's options.
#include "app/opening.hpp"

#include <unistd.h>

namespace kw::app {

store::retention retention_of(const config::settings& s) {
    const auto& u = s.usage;
    return {.hours = std::chrono::ceil<std::chrono::hours>(u.hour_retention),
            .days = std::chrono::ceil<std::chrono::hours>(u.day_retention),
            .records = std::chrono::ceil<std::chrono::hours>(u.record_retention),
            .max_records = u.max_records,
            .audit = std::chrono::ceil<std::chrono::hours>(s.admin.audit_retention),
            .max_audit = s.admin.audit_max_entries};
}

store::redis_options redis_options_of(const config::settings& s) {
    store::redis_options r;
    r.url = s.store.redis_url;
    r.mode = static_cast<store::redis_mode>(s.store.redis_mode);
    r.master_name = s.store.redis_master;
    r.sentinel_user = s.store.redis_sentinel_user;
    r.sentinel_password = s.store.redis_sentinel_password;
    r.ca_file = s.store.redis_ca;
    r.cert_file = s.store.redis_cert;
    r.key_file = s.store.redis_key;
    r.tls_name = s.store.redis_tls_name;
    r.prefix = s.store.key_prefix;
    r.call_timeout = s.store.redis_timeout;
    r.keep = retention_of(s);
    if (s.usage.events) r.max_events = s.usage.max_events;
    return r;
}

result<std::unique_ptr<store::store>> open_existing(const config::settings& s,
                                                    const clock_source& clock) {
    if (!s.store.redis_url.empty()) return store::open_redis(redis_options_of(s), clock);
    const auto file = s.store.data_dir + "/keywheel.db";
    if (::access(file.c_str(), F_OK) != 0)
        return error(errc::store_not_found, "there is no " + file, error_source::store);
    return store::open_embedded({.data_dir = s.store.data_dir, .keep = retention_of(s)}, clock);
}

}  // namespace kw::app
