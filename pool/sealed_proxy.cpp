// Sealing and opening of egress proxies.
#include "pool/sealed_proxy.hpp"

namespace kw::pool {

std::string seal_proxy(const std::string& url, const crypto::sealer& sealer,
                       std::string_view group_id) {
    if (url.find('@') == std::string::npos || !crypto::sealed_by(url).empty()) return url;
    return sealer.seal(secret(url), group_id);
}

result<std::string> open_proxy(const std::string& stored, const crypto::sealer& sealer,
                               std::string_view group_id) {
    if (crypto::sealed_by(stored).empty()) return stored;
    const auto opened = sealer.open(stored, group_id);
    if (!opened) return opened.error();
    return std::string(opened->reveal());
}

result<group> stored_group(std::string_view json, const crypto::sealer& sealer) {
    auto g = group_from_json(json);
    if (!g) return g;
    if (auto clear = open_proxy(g->egress_proxy, sealer, g->id))
        g->egress_proxy = std::move(*clear);
    return g;
}

}  // namespace kw::pool
