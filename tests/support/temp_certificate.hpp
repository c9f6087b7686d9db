// A throwaway self-signed certificate in files of its own; it is its own CA.
#pragma once

#include <string>
#include <vector>

namespace kw::test {

class temp_certificate {
  public:
    explicit temp_certificate(const std::vector<std::string>& hosts = {"localhost", "127.0.0.1"});
    temp_certificate(const temp_certificate&) = delete;
    temp_certificate& operator=(const temp_certificate&) = delete;
    ~temp_certificate();

    // Another certificate for the same hosts in the same files.
    void renew();
    // Something unreadable in the certificate's file.
    void spoil();

    [[nodiscard]] const std::string& certificate_file() const noexcept { return certificate_; }
    [[nodiscard]] const std::string& key_file() const noexcept { return key_; }

  private:
    std::vector<std::string> hosts_;
    std::string directory_;
    std::string certificate_;
    std::string key_;
};

}  // namespace kw::test
