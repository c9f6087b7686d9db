// OpenAI and every server that speaks its API: a bearer token
// (platform.openai.com/docs/api-reference/authentication).
#include "proxy/providers/provider.hpp"

namespace kw::proxy {
namespace {

class openai final : public provider_dialect {
    void append_credentials(std::string& head, const secret& key) const override {
        head += "Authorization: Bearer ";
        head += key.reveal();
        head += "\r\n";
    }
    void append_target(std::string& head, std::string_view base_path,
                       std::string_view target) const override {
        append_rebased_target(head, base_path, target);
    }
};

}  // namespace

const provider_dialect& openai_dialect() noexcept {
    static const openai instance;
    return instance;
}

}  // namespace kw::proxy
