// What differs from provider to provider on the wire: where the secret goes and how a path under
// keywheel's /v1 maps onto the provider's base URL. One file a provider, one line in the registry.
#pragma once

#include <string>
#include <string_view>

#include "core/secret.hpp"

namespace kw::proxy {

// Stateless; lives for the whole process. Any thread.
class provider_dialect {
  public:
    virtual ~provider_dialect() = default;

    // Appends the credential as whole header lines, each ended by CRLF.
    virtual void append_credentials(std::string& head, const secret& key) const = 0;

    // Appends the request target. base_path is the path of the base URL without a trailing slash
    // ("" or "/v1"), target the client's own, query included and credentials in it removed.
    virtual void append_target(std::string& head, std::string_view base_path,
                               std::string_view target) const = 0;
};

// Never null: an unknown name gets the OpenAI-compatible dialect.
[[nodiscard]] const provider_dialect& provider_by_name(std::string_view name) noexcept;

// The target with its "/v1" replaced by base_path; an empty base path keeps "/v1", so that a base
// URL works with and without it.
void append_rebased_target(std::string& head, std::string_view base_path, std::string_view target);

// One per file of this folder.
[[nodiscard]] const provider_dialect& openai_dialect() noexcept;
[[nodiscard]] const provider_dialect& anthropic_dialect() noexcept;
[[nodiscard]] const provider_dialect& gemini_dialect() noexcept;

}  // namespace kw::proxy
