<?php
$config = ['people' => ['exampleauth:UserPass']];
foreach (glob(getenv('PORTCULLIS_RIG_FOLDER') . '/people/*.json') as $file) {
    $person = json_decode(file_get_contents($file), true, 16, JSON_THROW_ON_ERROR);
    $config['people'][$person['name'] . ':pw'] = $person['attributes'];
}
