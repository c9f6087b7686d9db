// Anthropic's own API: the key in x-api-key (docs.anthropic.com/en/api/overview). The client's
// anthropic-version and anthropic-beta pass through.
#include "proxy/providers/provider.hpp"

namespace kw::proxy {
namespace {

class anthropic final : public provider_dialect {
    void append_credentials(std::string& head, const secret& key) const override {
        head += "x-api-key: ";
        head += key.reveal();
        head += "\r\n";
    }
    void append_target(std::string& head, std::string_view base_path,
                       std::string_view target) const override {
        append_rebased_target(head, base_path, target);
    }
};

}  // namespace

const provider_dialect& anthropic_dialect() noexcept {
    static const anthropic instance;
    return instance;
}

}  // namespace kw::proxy
