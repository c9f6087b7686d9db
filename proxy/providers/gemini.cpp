// Google's Gemini API: the key in x-goog-api-key (ai.google.dev/api). Its paths begin with their
// own version (/v1beta, /v1), so the client's path follows the base URL's unchanged.
#include "proxy/providers/provider.hpp"

namespace kw::proxy {
namespace {

class gemini final : public provider_dialect {
    void append_credentials(std::string& head, const secret& key) const override {
        head += "x-goog-api-key: ";
        head += key.reveal();
        head += "\r\n";
    }
    void append_target(std::string& head, std::string_view base_path,
                       std::string_view target) const override {
        head += base_path;
        head += target;
    }
};

}  // namespace

const provider_dialect& gemini_dialect() noexcept {
    static const gemini instance;
    return instance;
}

}  // namespace kw::proxy
