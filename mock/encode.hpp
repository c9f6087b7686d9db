// Content codings of answers. The encoders are loaded when first asked for, so that the program
// that ships does not depend on libraries which only a test of decoding needs.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace kw::mock {

class encoder {
  public:
    virtual ~encoder() = default;
    // Everything given so far can be decoded from what was returned so far.
    [[nodiscard]] virtual std::string push(std::string_view bytes, bool last) = 0;
};

// "gzip", "br" or "zstd"; null if unknown or its library is not installed.
[[nodiscard]] std::unique_ptr<encoder> make_encoder(std::string_view coding);

}  // namespace kw::mock
