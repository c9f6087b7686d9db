// The client's side of egress proxies, on a connection to the proxy that stands already.
#pragma once

#include <cstdint>
#include <string>

#include "net/connector.hpp"

namespace kw::net {

// After success the stream leads to host:port. errc::egress_proxy_error otherwise. The stream must
// be attached to w.
[[nodiscard]] task<result<void>> pass_proxy(stream& on, waiter& w, const egress_proxy& proxy,
                                            std::string host, std::uint16_t port,
                                            mono_time deadline);

}  // namespace kw::net
