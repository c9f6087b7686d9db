// The registry of provider dialects and the path mapping most of them share.
#include "proxy/providers/provider.hpp"

namespace kw::proxy {

const provider_dialect& provider_by_name(std::string_view name) noexcept {
    if (name == "anthropic") return anthropic_dialect();
    if (name == "gemini") return gemini_dialect();
    return openai_dialect();
}

void append_rebased_target(std::string& head, std::string_view base_path, std::string_view target) {
    constexpr std::string_view ours = "/v1";
    if (!base_path.empty() && target.starts_with(ours)) {
        head += base_path;
        target.remove_prefix(ours.size());
    }
    head += target;
}

}  // namespace kw::proxy
