<?php
require getenv('PORTCULLIS_RIG_SIMPLESAMLPHP') . '/etc/simplesamlphp/config.php';
$folder = getenv('PORTCULLIS_RIG_FOLDER');
$config = array_merge($config, [
    'baseurlpath' => getenv('PORTCULLIS_RIG_URL') . '/',
    'certdir' => "$folder/keys/",
    'metadatadir' => __DIR__ . '/metadata/',
    'metadata.sources' => [['type' => 'flatfile']],
    'tempdir' => "$folder/tmp",
    'loggingdir' => "$folder/",
    'logging.level' => SimpleSAML\Logger::INFO,
    'logging.handler' => 'errorlog',
    'secretsalt' => 'the salt of the rig',
    'auth.adminpassword' => bin2hex(random_bytes(16)),
    'enable.saml20-idp' => true,
    'store.type' => 'phpsession',
    'session.phpsession.savepath' => "$folder/sessions",
    'session.cookie.secure' => false,
    'session.cookie.samesite' => 'None',
    'admin.checkforupdates' => false,
    // People are sent back to whatever address a test listens at.
    'trusted.url.domains' => null,
    'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
]);
