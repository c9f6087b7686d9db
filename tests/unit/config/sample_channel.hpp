// A receiver of notifications, for tests.
#pragma once

#include "config/settings.hpp"

namespace kw::config::test {

inline channel_settings channel(channel_type type,
                                const char* url = "https://hooks.example/x?t=1") {
    channel_settings c;
    c.id = c.name = "c";
    c.type = type;
    c.url = secret(url);
    return c;
}

}  // namespace kw::config::test
