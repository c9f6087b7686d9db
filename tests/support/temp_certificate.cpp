// Makes and removes the throwaway certificate's files.
#include "tests/support/temp_certificate.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "net/tls.hpp"

namespace kw::test {
namespace {

void write_file(const std::string& path, std::string_view text) {
    std::ofstream out(path, std::ios::trunc | std::ios::binary);
    out << text;
    if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace

temp_certificate::temp_certificate(const std::vector<std::string>& hosts) : hosts_(hosts) {
    directory_ = (std::filesystem::temp_directory_path() / "kw-cert-XXXXXX").string();
    if (!::mkdtemp(directory_.data())) throw std::runtime_error("mkdtemp");
    certificate_ = directory_ + "/cert.pem";
    key_ = directory_ + "/key.pem";
    renew();
}

temp_certificate::~temp_certificate() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
}

void temp_certificate::renew() {
    const auto made = net::make_self_signed(hosts_, 1);
    if (!made) throw std::runtime_error(made.error().context);
    write_file(certificate_, made->cert_pem);
    write_file(key_, made->key_pem.reveal());
}

void temp_certificate::spoil() {
    write_file(certificate_, "not a certificate\n");
}

}  // namespace kw::test
